"""The accelerator that is not there: a device plugin, its workload, and their faults."""
