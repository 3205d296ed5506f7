"""The guest of the tests with QEMU: a boot sector, and a Linux kernel with an initrd of one script."""
