"""The names of a metric's variants: a suffix for whatever is not the benchmark's own default (DESIGN: ``auroc/l2``)."""

from __future__ import annotations

from preimage.harness.operators import Identity, Operator
from preimage.harness.options import RecoveryOptions


def variant(options: RecoveryOptions) -> str:
    """The suffix of a metric that was measured in another distance than the benchmark's own, or under an operator."""
    distance = "" if options.distance == type(options)().distance else f"/{options.distance}"
    return distance + operator_suffix(options.operator, Identity())


def operator_suffix(operator: Operator, default: Operator) -> str:
    """The suffix of a metric under an operator that is not the default one. Its settings are not part of the name."""
    return "" if operator.name == default.name else f"/{operator.name}"
