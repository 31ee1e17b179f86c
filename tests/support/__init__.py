"""What several test files share: servers, a replaying provider, a careful client."""
