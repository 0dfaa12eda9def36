"""Tables as people have them: text among the numbers, missing values, a column of times."""

from skrdae.tables.encoder import TableEncoder
from skrdae.tables.even_steps import EvenSteps
from skrdae.tables.files import read_table

__all__ = ["EvenSteps", "TableEncoder", "read_table"]
