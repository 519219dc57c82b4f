package ftps

// What replies of the server and failures of the network mean for the work that waits.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"

	"github.com/jlaffaye/ftp"

	"cloakroom/vault"
)

// Hints for administrators.
const (
	hintAway     = "is the server up, and does a firewall let us through?"
	hintSilent   = "the server does not answer: is it overloaded, or does a firewall drop the connection?"
	hintCert     = "check the certificate, ca_file, server_name and fingerprint"
	hintTLS      = "does the server speak TLS on this port (tls: explicit or implicit)?"
	hintLogin    = "check user and password_file, and whether the account may log in"
	hintBusy     = "the server allows no more connections: lower connections"
	hintData     = "the data connection failed: open the server's passive ports, or try passive: pasv or max_tls: \"1.2\""
	hintFull     = "make room on the server, raise the quota of the account, or look at the server's disk"
	hintBase     = "make the folder, and let the account enter it"
	hintStaging  = "let the account make folders and files in base, rename and delete them"
	hintPath     = "let the account make folders and files there; the server may not take the name"
	hintProtocol = "the server does not know a command that is needed"
)

// onNetwork judges what is not a reply; nil if it is one.
func onNetwork(err error) *vault.Fault {
	var (
		cert     *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		netErr   net.Error
	)
	switch {
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid), errors.Is(err, errPin):
		return &vault.Fault{Scope: vault.Access, Hint: hintCert, Err: err}
	case errors.As(err, &record):
		return &vault.Fault{Scope: vault.Access, Hint: hintTLS, Err: err}
	case replyCode(err) != 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return &vault.Fault{Scope: vault.Target, Hint: hintSilent, Err: err}
	}
	return &vault.Fault{Scope: vault.OneFile, Err: err}
}

// replyCode is the code of the server's reply in err, or 0.
func replyCode(err error) int {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code
	}
	return 0
}

// broken tells a failure of the connection from an answer that is not understood.
func broken(err error) bool {
	var (
		netErr   net.Error
		protocol textproto.ProtocolError
	)
	return errors.As(err, &netErr) || errors.As(err, &protocol) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// onConnect judges a connection that could not be made.
func onConnect(err error) error {
	if fault := onNetwork(err); fault != nil {
		if fault.Scope == vault.OneFile {
			fault.Scope, fault.Hint = vault.Target, hintAway
		}
		return fault
	}
	if code := replyCode(err); code >= 500 {
		return &vault.Fault{Scope: vault.Access, Hint: hintTLS, Err: err}
	}
	return &vault.Fault{Scope: vault.Target, Hint: hintBusy, Err: err}
}

// onLogin judges a login that failed.
func onLogin(err error) error {
	if fault := onNetwork(err); fault != nil {
		switch {
		case fault.Scope != vault.OneFile:
		case broken(err):
			fault.Scope, fault.Hint = vault.Target, hintAway
		default: // a refusal of which the library gives the text alone
			fault.Scope, fault.Hint = vault.Access, hintLogin
		}
		return fault
	}
	switch code := replyCode(err); {
	case code == ftp.StatusNotAvailable:
		return &vault.Fault{Scope: vault.Target, Hint: hintBusy, Err: err}
	case code >= 500 || code == ftp.StatusInvalidCredentials:
		return &vault.Fault{Scope: vault.Access, Hint: hintLogin, Err: err}
	}
	return &vault.Fault{Scope: vault.Target, Err: err}
}

// onBase judges a base folder that cannot be entered.
func onBase(err error) error {
	if replyCode(err) >= 500 {
		return &vault.Fault{Scope: vault.Access, Hint: hintBase, Err: err}
	}
	return onReply(err, vault.Access, hintBase)
}

// onPath judges an error at a path below the base.
func onPath(err error) error { return onReply(err, vault.ThisPath, hintPath) }

// onStaging judges an error in the staging folder.
func onStaging(err error) error { return onReply(err, vault.Access, hintStaging) }

// onReply judges an error; a refusal of the file is of the given scope.
func onReply(err error, refused vault.Scope, hint string) error {
	var fault *vault.Fault
	if err == nil || errors.As(err, &fault) {
		return err
	}
	if fault := onNetwork(err); fault != nil {
		return fault
	}
	switch code := replyCode(err); code {
	case ftp.StatusNotAvailable:
		return &vault.Fault{Scope: vault.Target, Hint: hintBusy, Err: err}
	case ftp.StatusCanNotOpenDataConnection, 521, 522, 534: // RFC 1639, RFC 2428, RFC 4217
		return &vault.Fault{Scope: vault.Target, Hint: hintData, Err: err}
	case ftp.Status452, ftp.StatusExceededStorage:
		return &vault.Fault{Scope: vault.Target, Hint: hintFull, Err: err}
	case ftp.StatusInvalidCredentials, ftp.StatusNotLoggedIn, ftp.StatusStorNeedAccount:
		return &vault.Fault{Scope: vault.Access, Hint: hintLogin, Err: err}
	case ftp.StatusFileUnavailable, ftp.StatusBadFileName, ftp.StatusBadArguments:
		if saysFull(err) {
			return &vault.Fault{Scope: vault.Target, Hint: hintFull, Err: err}
		}
		return &vault.Fault{Scope: refused, Hint: hint, Err: err}
	case ftp.StatusBadCommand, ftp.StatusNotImplemented, ftp.StatusNotImplementedParameter:
		return &vault.Fault{Scope: vault.Access, Hint: hintProtocol, Err: err}
	}
	if saysFull(err) {
		return &vault.Fault{Scope: vault.Target, Hint: hintFull, Err: err}
	}
	return &vault.Fault{Scope: vault.OneFile, Err: err}
}

// saysFull looks for words for a full or broken disk in a reply: not all servers
// have 452 and 552 for it. ProFTPD gives 451 and an I/O error, vsftpd 451 and
// "Failure writing to local file".
func saysFull(err error) bool {
	text := strings.ToLower(err.Error())
	for _, words := range []string{"no space left", "disk full", "quota exceeded", "not enough space", "input/output error", "failure writing"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// saysDenied looks for the system's words for a missing permission: 550 stands
// for that, and for a missing file.
func saysDenied(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "denied") || strings.Contains(text, "not permitted")
}
