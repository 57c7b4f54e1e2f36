"""Every setting, from the environment, safe by default. docs/operations.md has the table for operators.

Without REDIS_URL the installation is *embedded*: database, broker, keys and mail live in INSTANCE_DIR.
With it, keys are the operator's to give: a key made by one machine would be unknown to the next.
"""

import logging.config
from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
import environ
import structlog
from django.core.exceptions import ImproperlyConfigured

from audit.faults import replace_exception
from config.instance import bound_address, broker_socket, kept_key, make_private_folder, simulated_hosts

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
# ModelAdmin[...] and QuerySet[...] are written in the code; Django makes only some of them subscriptable itself.
django_stubs_ext.monkeypatch()

INSTANCE_DIR = make_private_folder(Path(env.str("INSTANCE_DIR", default="") or BASE_DIR / "instance"))
REDIS_URL = env.str("REDIS_URL", default="")
EMBEDDED = not REDIS_URL
BROKER_SOCKET = broker_socket(INSTANCE_DIR)


def _key(name: str) -> str:
    given: str = env.str(name, default="")
    if given:
        return given
    if EMBEDDED:
        return kept_key(INSTANCE_DIR, name.lower())
    raise ImproperlyConfigured(
        f"{name} is not set. With REDIS_URL set the keys are yours to give, because every machine of the "
        f"installation needs the same ones: set {name}, or unset REDIS_URL to run embedded on this machine."
    )


def _signing_key(name: str) -> str:
    return _key(name) if EMBEDDED else env.str(name, default="")


SECRET_KEY = _key("SECRET_KEY")
# Newest first; the first encrypts, all of them decrypt. 32 bytes each, URL-safe base64.
CREDENTIAL_KEYS = _key("CREDENTIAL_KEYS").split(",")
# Newest first; the first signs the trail's heads and archives, all of them verify. Where none is given, one is derived
# from SECRET_KEY, so that the machines of an installation agree.
AUDIT_SIGNING_KEY = _signing_key("AUDIT_SIGNING_KEY").split(",")

DEBUG = env.bool("DEBUG", default=False)
BASE_URL = (env.str("BASE_URL", default="") or bound_address(INSTANCE_DIR)).rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *filter(None, [urlsplit(BASE_URL).hostname]),
]
CSRF_TRUSTED_ORIGINS = [BASE_URL]

# --- the rooms -------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "config.apps.MatriculaAdminConfig",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "oauth2_provider",
    "rest_framework",
    "drf_spectacular_sidecar",  # for its static files: the page that shows the API's document
    "django_celery_beat",
    "csp",
    "django_htmx",  # for its static files: htmx itself
    "audit",
    "apiauth",
    # Behind apiauth, whose createsuperuser and changepassword leave events: of two commands the first app's counts.
    "django.contrib.auth",
    "registration",
    "integrations",
]

MIDDLEWARE = [
    "audit.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.StaticFilesMiddleware",
    "config.middleware.CspMiddleware",
    "config.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.middleware.AuthenticationMiddleware",
    "config.middleware.MessageMiddleware",
    "apiauth.middleware.SignOnMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_USER_MODEL = "apiauth.User"
OAUTH2_PROVIDER_APPLICATION_MODEL = "apiauth.Consumer"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- database --------------------------------------------------------------------------------------------

_database_url = env.str("DATABASE_URL", default="") or f"sqlite:///{INSTANCE_DIR / 'matricula.sqlite3'}"
DATABASES = {"default": env.db_url_config(_database_url)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets readers go on beside the one writer. IMMEDIATE takes the write lock at BEGIN, so a transaction
    # waits there for `timeout` seconds instead of failing at its first write (sqlite.org/lang_transaction).
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    # pytest-django runs against a file, so that other processes and threads of a test see the same database.
    DATABASES["default"]["TEST"] = {"NAME": str(INSTANCE_DIR / "test.sqlite3")}
else:
    DATABASES["default"].update(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
    # A server that is gone without a word must not hold a probe, or anybody else, for minutes.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)

# --- broker and workers ----------------------------------------------------------------------------------

CELERY_BROKER_URL = REDIS_URL or f"redis+socket://{BROKER_SOCKET}"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "config.beat:LivingScheduler"
# Ringing the doorbell must never hold up or fail what rang it: one short try, and the database remembers. Without the last
# four, kombu tries again for six seconds where nobody answers (Connection._extract_failover_opts). What waits for the
# broker, a worker or beat, has retries of its own.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
CELERY_TASK_PUBLISH_RETRY = False

# --- the product -----------------------------------------------------------------------------------------

# Of records that name none, and of every billing account (docs/decisions/0004-one-billing-currency.md).
CURRENCY = env.str("CURRENCY", default="USD")
# The accounts of the general ledger that its export writes, by kind of entry (registration/ledger_export.py).
LEDGER_ACCOUNTS = env.json("LEDGER_ACCOUNTS", default={})
# How long a run may be silent before another process may take its place.
RUN_LEASE_SECONDS = env.int("RUN_LEASE_SECONDS", default=30)
# Where a test stops processes on the road of a run (integrations/sync/failpoints.py); nowhere in any installation.
FAILPOINTS_DIR = env.str("FAILPOINTS_DIR", default="") or None
# How long after its last day a term still gives access to the library: longer than the break between two terms.
LIBRARY_BRIDGE_DAYS = env.int("LIBRARY_BRIDGE_DAYS", default=30)
# How long a library account stays after the last enrollment that gave access was given up.
LIBRARY_GRACE_HOURS = env.int("LIBRARY_GRACE_HOURS", default=24)
# What connections may reach though it is not on the public internet: host:port, separated by commas.
ALLOW_PRIVATE_HOSTS = [*env.list("ALLOW_PRIVATE_HOSTS", default=[]), *simulated_hosts(INSTANCE_DIR)]
# The proxy through which connections go out, such as http://proxy.example.edu:3128. Nothing else chooses one.
EGRESS_PROXY = env.str("EGRESS_PROXY", default="")
# How long the request log keeps what was asked of other systems, and rejected records what came, in days.
REQUEST_LOG_DAYS = env.int("REQUEST_LOG_DAYS", default=14)
RAW_RECORD_DAYS = env.int("RAW_RECORD_DAYS", default=90)
# How long the outbox keeps what was delivered or superseded, with its attempts, in days.
OUTBOX_DAYS = env.int("OUTBOX_DAYS", default=90)

# Where the trail's signed heads are kept: a folder that the database's owner cannot write, best on another machine.
AUDIT_HEAD_DIR = Path(env.str("AUDIT_HEAD_DIR", default="") or INSTANCE_DIR / "audit-heads")
# Who gets the hourly head by mail; nobody by default.
AUDIT_HEAD_EMAIL = env.str("AUDIT_HEAD_EMAIL", default="")

# --- mail ------------------------------------------------------------------------------------------------

_mail_folder = f"{INSTANCE_DIR / 'mail'}"
if env.str("EMAIL_URL", default=""):
    vars().update(env.email_url("EMAIL_URL"))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = _mail_folder
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.str(
    "DEFAULT_FROM_EMAIL", default=f"Matricula <matricula@{urlsplit(BASE_URL).hostname}>"
)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- security --------------------------------------------------------------------------------------------

_https = urlsplit(BASE_URL).scheme == "https"
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
SECURE_SSL_REDIRECT = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes come from inside, without TLS
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_ENGINE = "apiauth.sign_on.sessions"
# How long a session may lie unused, and how long it lasts in any case.
SESSION_IDLE_MINUTES = env.int("SESSION_IDLE_MINUTES", default=60)
SESSION_HOURS = env.int("SESSION_HOURS", default=12)
SESSION_COOKIE_AGE = SESSION_HOURS * 3600
# The roles whose people sign on with a second step or not at all, such as Administrator,Principal.
SECOND_STEP_ROLES = env.list("SECOND_STEP_ROLES", default=[])
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 10}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]

# People's passwords get the first; the last is for the random secrets of consumers alone (apiauth/secrets.py).
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "apiauth.secrets.RandomSecretHasher",
]
# How many proxies of ours stand between the callers and this process: as many entries of X-Forwarded-For are believed.
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=0)
# What is counted across processes: failed client authentications, refusals, requests of consumers.
COUNTERS_URL = REDIS_URL or f"unix://{BROKER_SOCKET}"
# Two installations on one server have each a prefix of their own.
COUNTERS_PREFIX = env.str("COUNTERS_PREFIX", default="matricula")

# --- partners --------------------------------------------------------------------------------------------

# Out of the box django-oauth-toolkit 3.4 grants every scope to everyone, stores tokens in clear and lets them live for ten
# hours. One grant is served (RFC 6749, 4.4), by a server that knows no other.
OAUTH2_PROVIDER = {
    "OAUTH2_SERVER_CLASS": "oauthlib.oauth2.BackendApplicationServer",
    "OAUTH2_VALIDATOR_CLASS": "apiauth.oauth.validator.ClientCredentialsValidator",
    "SCOPES_BACKEND_CLASS": "apiauth.scopes.GrantedScopes",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "ACCESS_TOKEN_GENERATOR": "apiauth.secrets.make_secret",
    "CLIENT_ID_GENERATOR_CLASS": "apiauth.secrets.ClientIdGenerator",
    "CLIENT_SECRET_GENERATOR_CLASS": "apiauth.secrets.ClientSecretGenerator",
    "CLIENT_SECRET_HASHER": "random_secret_sha256",
    "OAUTH2_GRANT_TYPES_SUPPORTED": ["client_credentials"],
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": [],
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apiauth.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["apiauth.permissions.HasRequiredScope"],
    "DEFAULT_RENDERER_CLASSES": ["apiauth.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "apiauth.problems.as_problem",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "registration.api.document.DocumentedView",
    "URL_FORMAT_OVERRIDE": None,  # a form is asked for by Accept; a parameter that is none is refused as unknown
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Matricula partner API",
    "VERSION": "1.0.0",
    "DESCRIPTION": "Registration data for partner systems: docs/partners.md has the quick start.",
    "OAS_VERSION": "3.0.3",
    "SERVERS": [{"url": "/"}],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [],  # values stand where they are used
}

# --- language, time, files -------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "config" / "static"]
# Files are served from where the packages hold them: nothing to collect, nothing to forget after an upgrade.
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 600
LOGIN_URL = "admin:login"

# --- logging: one line of JSON for an event, to stderr ---------------------------------------------------

_shared_processors: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    replace_exception,
]
LOGGING_CONFIG = None
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "foreign_pre_chain": _shared_processors,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "urllib3": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        # django-oauth-toolkit writes tokens at DEBUG.
        "oauth2_provider": {"level": "INFO"},
        "oauthlib": {"level": "INFO"},
    },
}
logging.config.dictConfig(LOGGING)
structlog.configure(
    processors=[*_shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
