"""MWNet (Shu et al. 2019): one weight an example, V(loss_i)·(p_i - y_i), from a weighting network trained on the meta
set. GDW at `level="instance"`: the paper's setting (noise recipe of the authors), weights not normalised."""

from gdwlib.methods.gdw import GDW


class MWNet(GDW):
    level = "instance"
