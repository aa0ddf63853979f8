"""How fast: the step of every method beside plain SGD and two second-order steps, and the loop
around it.

`python -m gdwlib bench` measures and prints; what it measures is kept in outputs/bench, a file for
each torch version, device and dtype. Machines are shared and noisy, so contestants take turns
within one process, and what is reported beside a median time is the median of the ratios taken
round by round.
"""

from gdwlib.bench.loop import measure_loop
from gdwlib.bench.parts import measure_parts
from gdwlib.bench.report import as_text, keep, result_path, results
from gdwlib.bench.setting import Setting
from gdwlib.bench.steps import STEPS, measure_growth, measure_steps

__all__ = [
    "STEPS",
    "Setting",
    "as_text",
    "keep",
    "measure_growth",
    "measure_loop",
    "measure_parts",
    "measure_steps",
    "result_path",
    "results",
]
