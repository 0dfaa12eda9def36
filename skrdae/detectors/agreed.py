"""What members that are trained apart have to agree on, to be one ensemble later."""

from __future__ import annotations

from typing import NamedTuple

from skrdae.preprocessing import ColumnScaler


class Agreed(NamedTuple):
    """What is given to the training of one member, in place of what it would find in its rows.

    Attributes
    ----------
    scaler : ColumnScaler
        Of the rows of all members.
    level : float or None
        What rows are divided by for the network, of detectors that do so.
    member, n_members : int
        The member's place in the ensemble, on which its λ depends.
    """

    scaler: ColumnScaler
    level: float | None
    member: int
    n_members: int
