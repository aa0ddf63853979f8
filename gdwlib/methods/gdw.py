"""GDW (the paper): class-level weights on the logit gradient, ω_ij (p_ij - y_ij), from the meta set. See gdwlib.GDW."""

import gdwlib.gdw
from gdwlib.methods.method import Batch, Method, Outcome


class GDW(Method):
    level = "class"

    def __init__(self, model, optimizer, num_classes, config):
        super().__init__(model, optimizer, num_classes, config)
        weight_net = gdwlib.gdw.default_weight_net(model)
        self.gdw = gdwlib.gdw.GDW(
            model,
            optimizer,
            num_classes,
            weight_net=weight_net,
            weight_optimizer=gdwlib.gdw.default_weight_optimizer(
                weight_net, config.weight_lr, config.weight_weight_decay
            ),
            class_lr=config.class_lr,
            clip=config.clip,
            zero_mean=config.zero_mean,
            level=self.level,
            meta_every=config.meta_every,
        )

    def step(self, batch: Batch) -> Outcome:
        out = self.gdw.step(batch.x, batch.y, batch.x_meta, batch.y_meta)
        target_weights = out.class_weights.gather(1, batch.y[:, None])[:, 0]  # (n,)
        return Outcome(out.train_loss, out.meta_loss, target_weights)

    def state_dict(self) -> dict:
        return self.gdw.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.gdw.load_state_dict(state)

    def networks(self) -> dict:
        return super().networks() | {"weight_net": self.gdw.weight_net}

    def check(self) -> None:
        self.gdw.check()
