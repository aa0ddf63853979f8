"""What each command of the command line does with its arguments."""

from gdwlib.commands.answers import predict as predict
from gdwlib.commands.answers import suspects as suspects
from gdwlib.commands.reports import bench as bench
from gdwlib.commands.reports import compare as compare
from gdwlib.commands.reports import data as data
from gdwlib.commands.reports import table as table
from gdwlib.commands.runs import run as run
from gdwlib.commands.runs import sweep as sweep
