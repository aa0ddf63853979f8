"""Shape annotations: jaxtyping's where it is installed (the tests check every call), inert
stand-ins on a bare node."""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
try:
    from jaxtyping import Bool, Float, Int, UInt8
except ImportError:

    class _Inert:
        def __class_getitem__(cls, _):
            return Tensor

    Bool = Float = Int = UInt8 = _Inert  # type: ignore

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
