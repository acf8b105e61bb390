"""The small package that the chapters of *Deep Learning, Worked Out* import.

Nothing is re-exported here: write ``from helpers import check`` and so on. Importing a light module stays light.
"""

__version__ = "0.1.0"
