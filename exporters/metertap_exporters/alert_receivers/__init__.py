"""Alert receivers: webhooks and chat services that alerts are posted to."""
