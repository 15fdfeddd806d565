"""A small HTTPS server that speaks the part of ERMrest and Hatrac that is used, silent successes included.

It knows both forms of DerivaML's schema and both of its policies, and makes faults on demand. What it
answers was taken from ERMrest's behaviour, and the same tests run on ERMrest itself.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Row = dict[str, Any]
SYSTEM = ("RID", "RCT", "RMT", "RCB", "RMB")
USER, READER = "https://example.org/ada", "https://example.org/eve"
COOKIES = {"good": USER, "reader": READER}


@dataclass
class Table:
    """A table: its columns, those that must be filled, its keys and references, and who may do what."""

    columns: tuple[str, ...]
    needed: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()
    references: dict[str, tuple[str, str]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    insert: bool = True


@dataclass
class Fault:
    """What goes wrong: a status, `hang`, `drip` (5 bytes a second), `drop` the answer after the work is done,

    `say` `text` instead of doing anything, `swell` (300 MB, packed), or `call` something before doing it.
    """

    kind: int | str
    method: str = ""
    path: str = ""
    times: int = 1_000_000
    text: str = "Request refused on demand. Detail: token=planted-secret-1"
    call: Callable[[], object] = object

    def fits(self, method: str, path: str) -> bool:
        """Whether it strikes this request; counts down."""
        if self.times <= 0 or self.method not in ("", method) or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


class HttpError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def schema(latest: bool) -> dict[str, Table]:
    """DerivaML's tables: as of 1.17.10, or as of its later sources."""
    name = {"keys": (("Name",),), "needed": ("Name",)}
    tables = {
        "Workflow": Table(("Name", "Description", "URL", "Checksum", "Version")),
        "Workflow_Type": Table(("Name", "Description"), **name),  # type: ignore[arg-type]
        "Execution": Table(
            ("Workflow", "Description", "Status", "Status_Detail"),
            references={"Workflow": ("Workflow", "RID")},
        ),
        "Asset_Type": Table(("Name",), **name),  # type: ignore[arg-type]
        "Asset_Role": Table(("Name",), **name),  # type: ignore[arg-type]
        "Execution_Metadata": Table(
            ("URL", "Filename", "Description", "Length", "MD5"),
            needed=("URL", "Length", "MD5"),
            keys=(("URL",),),
        ),
        "Execution_Metadata_Execution": _link(
            Execution_Metadata="RID", Execution="RID", Asset_Role="Name", keys=2
        ),
        "Execution_Metadata_Asset_Type": _link(Execution_Metadata="RID", Asset_Type="Name"),
    }
    if latest:
        tables["Execution"].columns += ("Execution_Duration", "Download_Duration", "Upload_Duration")
        tables["Execution"].references["Status"] = ("Execution_Status", "Name")
        tables["Execution_Status"] = Table(("Name",), **name)  # type: ignore[arg-type]
        tables["Workflow_Workflow_Type"] = _link(Workflow="RID", Workflow_Type="Name")
        tables["Execution_Execution"] = Table(
            ("Execution", "Nested_Execution", "Sequence"), ("Execution", "Nested_Execution")
        )
    else:
        tables["Execution"].columns += ("Duration",)
        tables["Workflow"].columns += ("Workflow_Type",)
        tables["Workflow"].needed = ("Workflow_Type",)
        tables["Workflow"].references["Workflow_Type"] = ("Workflow_Type", "Name")
    return tables


def _link(*, keys: int | None = None, **to: str) -> Table:
    return Table(
        tuple(to), tuple(to), (tuple(to)[:keys],), {name: (name, column) for name, column in to.items()}
    )


class Catalog:
    """The rows of one catalog, and what is done to them."""

    def __init__(
        self,
        *,
        latest: bool,
        leases: bool,
        hidden: bool = False,
        types: Iterable[str] = ("Training", "Testing"),
    ) -> None:
        self.hidden = hidden
        self.open = False
        self.latest = latest
        self.lock = threading.RLock()
        self.tables = schema(latest)
        self.leases = Table(("ID",), ("ID",), (("ID",),), insert=leases)
        self.updates = True
        self.owner = False
        self.protected: set[str] = set()
        self.number = itertools.count(4096)
        terms = {
            "Workflow_Type": types,
            "Asset_Type": ("Execution_Metadata",),
            "Asset_Role": ("Input", "Output"),
            "Execution_Status": (
                "Created",
                "Running",
                "Stopped",
                "Failed",
                "Pending_Upload",
                "Uploaded",
                "Aborted",
            ),
        }
        for table, names in terms.items():
            if table in self.tables:
                for name in names:
                    self.add(self.tables[table], {"Name": name}, USER)

    def table(self, name: str) -> Table:
        """The table `schema:name`."""
        space, _, table = name.partition(":")
        if (space, table) == ("public", "ERMrest_RID_Lease") and not self.hidden:
            return self.leases
        if space != "deriva-ml" or table not in self.tables:
            raise HttpError(
                409, f"Request conflicts with state of server. Detail: table {name} does not exist"
            )
        return self.tables[table]

    def add(self, table: Table, given: Row, user: str, *, rid: str | None = None) -> Row:
        """One row, whatever the keys say; unknown columns are ignored."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        row = {"RID": rid or self.rid(), "RCT": now, "RMT": now, "RCB": user, "RMB": user}
        row |= {name: given.get(name) for name in table.columns}
        table.rows[row["RID"]] = row
        return row

    def rid(self) -> str:
        """The next RID of the catalog's sequence."""
        digits, value = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", next(self.number)
        return (
            digits[value >> 10 & 31]
            + digits[value >> 5 & 31]
            + digits[value & 31]
            + ("" if value < 32768 else "X")
        )

    def insert(self, name: str, rows: list[Row], query: dict[str, list[str]], user: str) -> list[Row]:
        """POST /entity: all of them or none; a RID counts only when it is named in `nondefaults`."""
        table = self.table(name)
        if not table.insert or user != USER:
            raise HttpError(403, f"Access forbidden. Detail: insert access on {name}")
        own_rid = "RID" in query.get("nondefaults", [""])[0].split(",")
        skip = query.get("onconflict") == ["skip"]
        made: list[Row] = []
        if own_rid and not self.owner:
            mine = {row["RID"] for row in self.leases.rows.values() if row["RCB"] == user}
            for given in rows:
                if given["RID"] not in mine:
                    detail = f"insert access on column \"RID\" with non-leased value '{given['RID']}'"
                    raise HttpError(403, f"Access forbidden. Detail: {detail}")
        try:
            for given in rows:
                self._checked(table, given)
                if self._clashes(table, given, own_rid):
                    if skip:
                        continue
                    raise HttpError(409, "Request conflicts with state of server. Detail: duplicate key")
                made.append(self.add(table, given, user, rid=given["RID"] if own_rid else None))
        except HttpError:
            for row in made:
                del table.rows[row["RID"]]
            raise
        if own_rid:  # a lease ends with the row
            for given in rows:
                self.leases.rows.pop(given["RID"], None)
        return made

    def update(self, name: str, columns: list[str], rows: list[Row], user: str) -> list[Row]:
        """PUT /attributegroup: rows that are not there are passed over in silence."""
        table = self.table(name)
        if user != USER or not self.updates:
            raise HttpError(403, f"Access forbidden. Detail: update access on {name}")
        if not self.protected.isdisjoint(given["RID"] for given in rows):
            raise HttpError(403, f"Access forbidden. Detail: update access on one or more rows of {name}")
        for given in rows:
            self._checked(table, {**table.rows.get(given["RID"], {}), **given})
        done = []
        for given in rows:
            if given["RID"] in table.rows:
                table.rows[given["RID"]] |= {c: given.get(c) for c in columns}
                done.append({"RID": given["RID"]} | {c: given.get(c) for c in columns})
        return done

    def _checked(self, table: Table, given: Row) -> None:
        for column in table.needed:
            if given.get(column) is None:
                raise HttpError(409, f'null value in column "{column}" violates not-null constraint')
        for column, (other, key) in table.references.items():
            value = given.get(column)
            if value is not None and all(row[key] != value for row in self.tables[other].rows.values()):
                raise HttpError(409, f'violates foreign key constraint: {column} "{value}" is not in {other}')

    def _clashes(self, table: Table, given: Row, own_rid: bool) -> bool:
        if own_rid and given["RID"] in table.rows:
            return True
        return any(
            all(row[c] == given.get(c) for c in key) for key in table.keys for row in table.rows.values()
        )

    def find(self, path: list[str]) -> list[Row]:
        """The rows at the end of a path."""
        return [row for row, _ in self.walk(path)]

    def attributes(self, path: list[str], columns: list[str]) -> list[Row]:
        """Columns at the end of a path, also of tables on the way (`name:=alias:column`)."""
        rows = []
        for row, known in self.walk(path):
            values = {}
            for column in columns:
                name, _, source = column.rpartition(":=")
                alias, _, plain = source.rpartition(":")
                values[name or plain] = (known[alias] if alias else row)[plain]
            rows.append(values)
        return rows

    def walk(self, path: list[str]) -> list[tuple[Row, dict[str, Row]]]:
        """A path of tables, filters, joins and returns to an alias: its rows, each with those on the way."""
        alias, _, name = path[0].rpartition(":=")
        found: list[tuple[Row, dict[str, Row]]] = [
            (row, {alias: row}) for row in list(self.table(unquote(name)).rows.values())
        ]
        for part in path[1:]:
            joined = re.fullmatch(r"(\w+):=\((\w+)\)=\(([^:]+):([^:]+):(\w+)\)", part)
            if joined:
                other = self.table(unquote(f"{joined[3]}:{joined[4]}"))
                found = [
                    (there, {**known, joined[1]: there})
                    for row, known in found
                    for there in other.rows.values()
                    if row[joined[2]] == there[joined[5]]
                ]
            elif part.startswith("$"):
                found = [(known[part[1:]], known) for _, known in found]
            else:
                found = [(row, known) for row, known in found if matches(row, part)]
        return found

    def document(self, user: str | None) -> Row:
        """The schema as ERMrest describes it to a user."""
        return {"tables": {name: self._described(name, table, user) for name, table in self.tables.items()}}

    def _described(self, name: str, table: Table, user: str | None) -> Row:
        return {
            "table_name": name,
            "rights": {
                "insert": table.insert and user == USER,
                "update": None if self.updates and user == USER else False,
                "select": True,
            },
            "column_definitions": [{"name": c} for c in (*SYSTEM, *table.columns)],
            "foreign_keys": [
                {
                    "foreign_key_columns": [{"column_name": column}],
                    "referenced_columns": [{"table_name": other, "column_name": key}],
                }
                for column, (other, key) in table.references.items()
            ],
        }


def matches(row: Row, text: str) -> bool:
    """Whether a row passes a filter: `A=1&B=2;C::regexp::x`, with parentheses around a conjunction."""
    return any(
        all(_passes(row, one) for one in either.removeprefix("(").removesuffix(")").split("&"))
        for either in text.split(";")
    )


def _passes(row: Row, text: str) -> bool:
    found = re.fullmatch(r"(\w+)(=|::\w+::)(.*)", text)
    if found is None:
        raise HttpError(400, f"Request malformed. Detail: {text}")
    column, operator, value = found[1], found[2], unquote(found[3])
    held = row[column]
    if held is None:
        return False
    tests: dict[str, Callable[[], bool]] = {
        "=": lambda: str(held) == value,
        "::regexp::": lambda: re.search(value, held) is not None,
        "::geq::": lambda: datetime.datetime.fromisoformat(held) >= datetime.datetime.fromisoformat(value),
        "::leq::": lambda: datetime.datetime.fromisoformat(held) <= datetime.datetime.fromisoformat(value),
    }
    return tests[operator]()


class Server(ThreadingHTTPServer):
    """The server on a port of localhost, with the catalogs by id, the objects of Hatrac, and the faults."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, catalogs: dict[str, Catalog], *, delay: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.delay = delay
        self.released = threading.Event()
        self.news = threading.Condition()
        self.reset(catalogs)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(folder))
        # The handshake is made in the thread of the request: a silent client stops nobody else.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self, catalogs: dict[str, Catalog]) -> None:
        """Begin anew with these catalogs, and let what hangs go."""
        self.released.set()
        self.released = threading.Event()
        self.catalogs = catalogs
        self.aliases: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.hatrac = True
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self.credentials: set[str] = set()
        self.cookies = dict(COOKIES)
        self.scope = "https://auth.globus.org/scopes/localhost/deriva_all"

    def wait_for(self, method: str, path: str = "") -> None:
        """Wait until a request has come whose path holds `path`."""
        with self.news:
            came = self.news.wait_for(lambda: any(m == method and path in p for m, p in self.seen), 60)
        assert came, f"no {method} {path}"

    def stop(self) -> None:
        """Stop, and let what hangs go."""
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    wbufsize = -1  # headers and body in one packet

    def finish(self) -> None:
        """Close both files, also of a client that went away: the first must not keep the second open."""
        for file in (self.wfile, self.rfile):
            with contextlib.suppress(OSError, ValueError):
                file.close()

    def log_message(self, *args: Any) -> None:
        """Be quiet."""

    def handle_one_request(self) -> None:
        """Answer, whatever the method."""
        for method in ("GET", "POST", "PUT", "DELETE"):
            setattr(self, f"do_{method}", self._do)
        super().handle_one_request()

    def _do(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with server.news:
            server.seen.append((self.command, self.path))
            server.news.notify_all()
        server.credentials |= {v for k, v in self.headers.items() if k in ("Authorization", "Cookie")}
        fault = next((f for f in list(server.faults) if f.fits(self.command, self.path)), None)
        if server.delay:
            time.sleep(server.delay)
        if fault is not None and fault.kind == "hang":
            server.released.wait(120)
            self.close_connection = True
            return
        if fault is not None and fault.kind == "call":
            fault.call()
        try:
            if fault is not None and isinstance(fault.kind, int):
                raise HttpError(fault.kind, fault.text)
            status, document = (200, fault.text) if fault and fault.kind == "say" else self._answer(body)
        except HttpError as error:
            status, document = error.status, error.text
        if fault is not None and fault.kind == "drop":
            self.close_connection = True
            return
        data = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(status)
        if fault is not None and fault.kind == "swell":
            part = gzip.compress(bytes(3 * 10**6))
            data = part * 100
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        if status == 302:
            self.send_header("Location", f"http://localhost:{self.server.server_port}/login")
        self.end_headers()
        if fault is not None and fault.kind == "drip":
            for byte in data:
                if server.released.wait(0.2):
                    break
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(data)
        self.wfile.flush()

    def _answer(self, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(self.path)
        user = self._user()
        if parts.path == "/authn/discovery":
            return 200, {"oauth2_scopes": {"deriva-all": self.server.scope}}
        if parts.path == "/authn/session":
            if user is None:
                raise HttpError(404, "No existing login session found.")
            return 200, {"client": {"id": user, "display_name": user.rpartition("/")[2]}}
        if parts.path.startswith("/hatrac/"):
            return self._hatrac(parts.path, user, body)
        found = re.fullmatch(r"/ermrest/catalog/([^/]+)(?:/(.*))?", parts.path)
        target = self.server.aliases.get(found[1], found[1]) if found else None
        if found is None or target not in self.server.catalogs:
            raise HttpError(404, f"Resource not found. Detail: catalog {found[1] if found else parts.path}")
        if user is None and not (self.server.catalogs[target].open and self.command == "GET"):
            raise HttpError(401, "Access requires authentication. Detail: enumerate access")
        if found[2] is None:
            return 200, {"id": found[1]} | ({"alias_target": target} if target != found[1] else {})
        catalog = self.server.catalogs[target]
        with catalog.lock:
            return self._ermrest(catalog, found[2].split("/"), parse_qs(parts.query), user, body)

    def _ermrest(
        self, catalog: Catalog, path: list[str], query: dict[str, list[str]], user: str | None, body: bytes
    ) -> tuple[int, Any]:
        kind = path[0]
        if kind == "schema":
            if path[1:] != ["deriva-ml"]:
                raise HttpError(404, f"Resource not found. Detail: schema {path[1]}")
            return 200, catalog.document(user)
        if user is None:
            return 200, []  # who is nobody sees no rows, and is told nothing of it
        if kind == "entity" and self.command == "POST":
            return 200, catalog.insert(unquote(path[1]), json.loads(body), query, user)
        if kind == "attributegroup" and self.command == "PUT":
            columns = unquote(path[2]).partition(";")[2].split(",")
            return 200, catalog.update(unquote(path[1]), columns, json.loads(body), user)
        if kind == "entity" and self.command == "DELETE":
            for row in catalog.find(path[1:]):
                del catalog.table(unquote(path[1])).rows[row["RID"]]
            return 204, ""
        if kind == "entity":
            return 200, catalog.find(path[1:])
        if kind == "attribute":
            return 200, catalog.attributes(path[1:-1], path[-1].split(","))
        raise HttpError(400, "Request malformed.")

    def _hatrac(self, path: str, user: str | None, body: bytes) -> tuple[int, Any]:
        if not self.server.hatrac:
            raise HttpError(404, "Not found.")
        stored = self.server.objects.get(path.partition(":")[0])
        if self.command == "GET" and stored is not None:
            return 200, stored.decode()
        if self.command == "DELETE" and user == USER:
            self.server.objects.pop(path.partition(":")[0], None)
            return 204, ""
        if self.command != "PUT":
            raise HttpError(403, f"Access to {path} forbidden.")
        if user != USER:
            raise HttpError(403, "Access forbidden.")
        self.server.objects[path] = body
        return 201, f"{path}:{hashlib.sha1(body, usedforsecurity=False).hexdigest()[:16].upper()}"

    def _user(self) -> str | None:
        sent = f"{self.headers.get('Cookie')};{self.headers.get('Authorization')}"
        found = re.search(r"(?:webauthn=|Bearer )([^;]+)", sent)
        return self.server.cookies.get(found[1]) if found else None


def certificate(folder: Path) -> Path:
    """A certificate of localhost that nobody has signed, with its key, in one file."""
    path = folder / "server.pem"
    if path.exists():
        return path
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
