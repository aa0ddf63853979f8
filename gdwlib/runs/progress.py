"""What a person sees of a run: a bar in a terminal; on a notebook's page one line that is kept up
to date; in a log, or a notebook that nobody watches, a line now and then."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from gdwlib.runs.config import RunConfig

PAGES = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")  # set for kernels behind a page
LINE_EVERY = 10.0  # seconds, at least, between two lines


def duration(seconds: float) -> str:
    """For a person: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def on_a_page() -> bool:
    """In the kernel of a notebook that somebody has before them in JupyterLab, VS Code or Colab."""
    return "ipykernel" in sys.modules and any(name in os.environ for name in PAGES)


class Progress:
    """Progress of one run, on standard error; of a run's several processes one leads and tells
    it."""

    def __init__(self, config: RunConfig, enabled: bool, leads: bool = True):
        self.config, self.enabled, self.leads = config, enabled and leads, leads
        self.name = f"{config.dataset} {config.method} seed {config.seed}"
        self.bar = None
        self.page, self.drawn = None, False
        if self.enabled and on_a_page():
            from IPython.display import DisplayHandle

            self.page = DisplayHandle()

    def say(self, text: str, always: bool = False) -> None:
        """One line, above the bar where there is one; `always` also where progress is switched
        off."""
        if self.enabled or (always and self.leads):
            tqdm.write(f"{self.name}: {text}", file=sys.stderr)

    def tell(self, text: str) -> None:
        """How far it is: on a page, in the place of what was told before."""
        if self.page is None:
            return self.say(text)
        content = {"text/plain": f"{self.name}: {text}"}
        self.page.update(content, raw=True) if self.drawn else self.page.display(content, raw=True)
        self.drawn = True

    @contextlib.contextmanager
    def epochs(self, done: int, steps: int) -> Iterator["Progress"]:
        """Show the epochs from `done` on, of `steps` steps each."""
        self.done = self.begun = done
        self.start, self.last_line = time.perf_counter(), -LINE_EVERY
        terminal = self.enabled and sys.stderr.isatty()
        if terminal:
            total = self.config.total_epochs * steps
            self.bar = tqdm(
                total=total,
                initial=done * steps,
                desc=self.name,
                unit="step",
                dynamic_ncols=True,
                leave=True,
            )
        try:
            yield self
        finally:
            if self.bar is not None:
                self.bar.close()
                self.bar = None

    def step(self) -> None:
        if self.bar is not None:
            self.bar.update()

    def epoch_done(self, metrics: dict) -> None:
        self.done += 1
        losses = f"train loss {metrics['train_loss']:.3f}"
        if metrics["meta_loss"] is not None:
            losses += f", meta loss {metrics['meta_loss']:.3f}"
        if metrics["test_accuracy"] is not None:
            losses += f", test {metrics['test_accuracy']:.2f}%"
        pace = f"{metrics['images_per_second']:.0f} images/s"
        text = f"epoch {self.done}/{self.config.total_epochs}, {losses}, {pace}"
        now = time.perf_counter()
        if self.bar is not None:
            self.bar.set_postfix_str(text)
        elif (
            self.done == self.config.total_epochs or self.page or now - self.last_line >= LINE_EVERY
        ):
            left = (
                (now - self.start)
                / (self.done - self.begun)
                * (self.config.total_epochs - self.done)
            )
            self.tell(
                text
                + (f", {left:.0f} s left" if self.done < self.config.total_epochs else ", done")
            )
            self.last_line = now
