"""Certificates for the tests, made with the openssl command."""
import datetime
import os
import subprocess

from harness import Failed, need_tool

CONFIG = """
[ca]
default_ca = it
[it]
database = %(dir)s/index
new_certs_dir = %(dir)s
serial = %(dir)s/serial
crlnumber = %(dir)s/crlnumber
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
default_crl_days = 10
[any]
commonName = supplied
organizationName = optional
"""


class Authority:
    """A CA in a folder of its own."""

    def __init__(self, t, name="testca"):
        need_tool("openssl")
        self.dir = t.folder()
        for file, text in (("index", ""), ("serial", "1000\n"), ("crlnumber", "01\n"),
                           ("ca.cnf", CONFIG % {"dir": self.dir})):
            with open(self.path(file), "w") as f:
                f.write(text)
        self.key("ca")
        self.ssl("req", "-x509", "-key", self.path("ca.key"), "-out", self.path("ca.pem"), "-days", "30",
                 "-subj", "/CN=" + name)
        self.ca = self.path("ca.pem")

    def path(self, name):
        return os.path.join(self.dir, name)

    def ssl(self, *args):
        done = subprocess.run(["openssl"] + list(args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              cwd=self.dir)
        if done.returncode:
            raise Failed("openssl %s: %s" % (" ".join(args), done.stdout.decode("utf-8", "replace")))

    def key(self, name, rsa=False):
        kind = ["-algorithm", "RSA"] if rsa else ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.ssl("genpkey", *kind, "-out", self.path(name + ".key"))

    def issue(self, name, subject=None, days=(-1, 90), san="DNS:localhost,IP:127.0.0.1,IP:::1", rsa=False):
        """(certificate file, key file), valid from and to days from now."""
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = [(now + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in days]
        self.key(name, rsa)
        self.ssl("req", "-new", "-key", self.path(name + ".key"), "-subj", subject or "/CN=" + name,
                 "-out", self.path("csr"))
        with open(self.path("ext"), "w") as f:
            f.write("basicConstraints=CA:false\nsubjectAltName=%s\n" % san)
        self.ssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
                 "-in", "csr", "-out", self.path(name + ".new"), "-startdate", start, "-enddate", end,
                 "-extfile", "ext")
        os.replace(self.path(name + ".new"), self.path(name + ".pem"))
        return self.path(name + ".pem"), self.path(name + ".key")

    def revoke(self, *names):
        """The file of the revoked."""
        for name in names:
            self.ssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
                     "-revoke", self.path(name + ".pem"))
        self.ssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl",
                 "-out", self.path("crl.new"))
        os.replace(self.path("crl.new"), self.path("crl.pem"))
        return self.path("crl.pem")
