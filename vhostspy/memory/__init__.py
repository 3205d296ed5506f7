"""What lies in shared memory: rings, in-flight region, dirty log. Octets and the session's state in, values out."""
