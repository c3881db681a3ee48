"""The real parts that tests run against: hosts in namespaces, an sshd on them, a cloud whose instances are such hosts."""
