"""What several tests share: servers, certificates, readers that are not ours."""
