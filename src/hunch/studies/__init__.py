"""Many runs as one study in a folder, done by any number of workers that may come and go."""

from hunch.studies.cells import Cell, Job
from hunch.studies.limits import Limits
from hunch.studies.records import Finished
from hunch.studies.study import Status, Study, finished
from hunch.studies.work import work

__all__ = ["Cell", "Finished", "Job", "Limits", "Status", "Study", "finished", "work"]
