"""Audit events for the hospital's audit repository: DICOM audit messages over syslog with TLS (PS3.15 A.5 and A.6)."""
