"""A small virtio-blk device and a driver for it, both speaking vhost-user: the peers of the demo and of the tests.

They share no code with the decoder on purpose: what they put on the wire is written with plain ``struct``, so a test
that decodes it compares two independent readings of the specification.
"""
