"""python -m fastdw"""

import sys

from fastdw.cli import main

sys.exit(main())
