"""Where a step's time goes: its passes through the network, and the rest."""

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import patch

from gdwlib import bilevel
from gdwlib.bench.setting import Setting, timed
from gdwlib.bench.steps import contestants

# part → the function of `bilevel` that is it
PARTS = {
    "forward": (bilevel, "forward"),
    "backward, for the virtual step or the last": (bilevel.ForwardPass, "pullback"),
    "meta forward and backward": (bilevel.ForwardPass, "meta_gradient"),
    "forward-mode product": (bilevel.ForwardPass, "tangent"),
}
REST = "everything else"


@contextlib.contextmanager
def stopwatch(setting: Setting) -> Iterator[dict[str, float]]:
    """Seconds spent in each of PARTS within; waits for the device before and after each."""
    seconds: dict[str, float] = defaultdict(float)

    def watched(name: str, function: Callable) -> Callable:
        def call(*args, **kwargs):
            setting.synchronize()
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                setting.synchronize()
                seconds[name] += time.perf_counter() - start

        return call

    with contextlib.ExitStack() as stack:
        for name, (owner, attribute) in PARTS.items():
            stack.enter_context(
                patch.object(owner, attribute, watched(name, getattr(owner, attribute)))
            )
        yield seconds


def measure_parts(
    setting: Setting, names: list[str], rounds: int, say: Callable[[str], None]
) -> list[dict]:
    """A row for each method and part: the median of its seconds a step."""
    steps, batch = contestants(setting, names), setting.batch()
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for round_ in range(rounds + 1):  # one to warm up
        for name in names:
            with stopwatch(setting) as seconds:
                total = timed(setting, partial(steps[name], batch))
            if round_:
                for part in PARTS:
                    taken[name, part].append(seconds[part])
                taken[name, REST].append(total - sum(seconds.values()))
        say(f"parts: round {round_ + 1} of {rounds + 1}")
    return [
        {"step": name, "part": part, "seconds": statistics.median(times)}
        for (name, part), times in taken.items()
    ]
