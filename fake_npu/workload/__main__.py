"""`python -m fake_npu.workload`."""

import os
import sys

from fake_npu.workload.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
