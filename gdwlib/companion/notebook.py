"""What a notebook asks for itself: are its parameters right?"""

import sys
import types

from gdwlib.data import DATASETS
from gdwlib.runs.config import suggestion
from gdwlib.runs.presets import PRESETS

# the parameters that mean the same in every notebook
SHARED: dict[str, type | tuple] = {
    "preset": tuple(PRESETS),
    "methods": list,
    "seeds": list,
    "outputs": str,
    "data": str,
}
# in a notebook's namespace, once its parameters have been found right
CHECKED = "_parameters_checked"


def check_parameters(namespace: dict, *shared: str, **parameters: type | tuple) -> None:
    """Check a notebook's parameters, right after the cell that sets them:
    `check_parameters(globals(), "preset", "seeds", noise_ratios=list)`.

    Args:
        namespace: the notebook's `globals()`.
        *shared: the names of its parameters that many notebooks have: dataset, preset, methods,
            seeds, outputs, data.
        **parameters: each other parameter, with a tuple of its valid values or its type. None is
            valid for a type.

    Raises:
        ValueError: a variable that is no parameter (a misspelt `papermill -p`), with the nearest
            that is, at the first run (where the cells are run again, the notebook has variables of
            its own by then); or a value that is not valid.
    """
    known = SHARED | {"dataset": tuple(DATASETS)}  # which grows while it is used
    parameters = {name: known[name] for name in shared} | parameters
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    # IPython's own, and what a person's startup files set
    before = shell.user_ns_hidden if shell else {}
    for name, value in list(namespace.items()):
        foreign = name.startswith("_") or callable(value) or isinstance(value, types.ModuleType)
        set_here = not foreign and (name not in before or before[name] is not value)
        if set_here and name not in parameters and CHECKED not in namespace:
            raise ValueError(
                f"this notebook has no parameter {name!r}{suggestion(name, parameters)}"
            )
    for name, valid in parameters.items():
        if name not in namespace:
            raise ValueError(f"{name}: not set by the parameters cell")
        value = namespace[name]
        if isinstance(valid, tuple):
            if value not in valid:
                raise ValueError(
                    f"{name}: unknown value {value!r}{suggestion(str(value), map(str, valid))}"
                )
        elif value is not None and (
            not isinstance(value, valid) or (isinstance(value, bool) and valid is not bool)
        ):
            raise ValueError(f"{name}: must be of type {valid.__name__}, not {value!r}")
        if isinstance(value, list):
            if not value:
                raise ValueError(f"{name}: must name one at least, or be left out")
            if again := [item for k, item in enumerate(value) if item in value[:k]]:
                raise ValueError(f"{name}: has {again[0]!r} twice")
    namespace[CHECKED] = True
