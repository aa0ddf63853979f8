"""A training step recorded once and replayed, as a CUDA graph: nothing of it waits for Python any
more.

A step of the paper's small network is thousands of small kernels, which Python launches one by one;
a fast accelerator waits for it: on one NVIDIA H200 a step of GDW took 111 ms as usual and 23 ms
recorded. (Where there is no GPU, the tests replay a log of a step's tensor operations in a graph's
place.)
"""

from collections.abc import Callable

import torch

from gdwlib._types import Tensor
from gdwlib.methods import Batch, StepResult

Recorder = Callable[
    [Callable[[], StepResult]], tuple[Callable[[], None], StepResult]
]  # work ↦ (replay, its outcome's place)


class CudaGraph:
    """Records on a CUDA device. `torch.cuda.graph` runs nothing while it records. What is recorded
    later may take the memory of what was recorded before: one recording at a time is to be
    replayed."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        # PyTorch refuses a pool that no graph has any more, while something of it lives on (the
        # workspace that cuBLAS took there): the last graph is kept until the next one is recorded
        self.last: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], StepResult]) -> tuple[Callable[[], None], StepResult]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            outcome = work()
        self.last = graph
        return graph.replay, outcome


def set_capturable(optimizer: torch.optim.Optimizer, on: bool) -> None:
    """Have an optimizer that counts its steps (Adam) count them on its parameters' device, or on
    the host as usual; also after a state from another device was loaded."""
    for group in optimizer.param_groups:
        if "capturable" not in group:
            continue
        group["capturable"] = on
        for param in group["params"]:
            state = optimizer.state.get(param, {})
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(param.device if on else "cpu")


class Captured:
    """`step`, recorded on the second batch it sees and replayed from then on.

    What Python decides is decided at recording: the learning rate, the phase, how many examples are
    kept. Make a new one where that changes, as at every epoch. Batches of another shape (an epoch's
    last) and the first one, which makes what a step makes only once (optimizer state), are stepped
    as usual. A step's outcome lies where the next one will write its own: read it before.

    Raises:
        ValueError: the step draws random numbers on the device, which a replay could not draw alike
            twice.
    """

    def __init__(self, step: Callable[[Batch], StepResult], record: Recorder):
        self.step, self.record = step, record
        self.replay: Callable[[], None] | None = None
        self.warm = False

    def __call__(self, batch: Batch) -> StepResult:
        if not self.warm:
            before = self._random(batch.x)
            outcome = self.step(batch)
            if not torch.equal(before, self._random(batch.x)):
                raise ValueError("capture: this model draws random numbers; leave capture off")
            self.warm, self.shapes = True, [part.shape for part in batch]
            return outcome
        if [part.shape for part in batch] != self.shapes:
            return self.step(batch)
        if self.replay is None:
            self.static = Batch(*(part.clone() for part in batch))
            self.replay, self.outcome = self.record(lambda: self.step(self.static))
        for mine, given in zip(self.static, batch, strict=True):
            mine.copy_(given)
        self.replay()
        return self.outcome

    @staticmethod
    def _random(x: Tensor) -> Tensor:
        return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()
