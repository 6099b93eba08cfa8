-- Prefect's own database beside ours: it is only the view, and may be thrown away.
CREATE DATABASE prefect;
