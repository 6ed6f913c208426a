"""Alert receivers: an Alertmanager or a webhook, to which a process posts its alerts."""
