"""The OAuth 2.0 endpoints: oauthlib's server for the client credentials grant, on django-oauth-toolkit's tables."""
