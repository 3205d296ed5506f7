"""``python3 -m vhostspy``: says what is missing before importing what would fail without it."""

import sys

from vhostspy.support import unsupported

if unsupported():
    sys.exit(sys.stderr.write(unsupported() + "\n") and 2)

from vhostspy.cli import main

sys.exit(main())
