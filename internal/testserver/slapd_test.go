package testserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

func TestSlapdServesItsReaderAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	began := time.Now()
	s, err := StartSlapd(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	t.Logf("ready after %v", time.Since(began))

	bob := "uid=bob," + s.PeopleDN()
	if err := s.Add(ctx,
		LDAPEntry{bob, map[string][]string{"objectClass": {"inetOrgPerson"}, "uid": {"bob"}, "cn": {"Bob"}, "sn": {"B"}}},
		LDAPEntry{"cn=research," + s.GroupsDN(), map[string][]string{"objectClass": {"groupOfNames"}, "cn": {"research"}, "member": {bob}}},
	); err != nil {
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(mustRead(t, s.CAFile())))
	conn, err := ldap.DialURL(s.TLSURL(), ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	search := ldap.NewSearchRequest(s.PeopleDN(), ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 0, 0, false, "(uid=bob)", []string{"memberOf"}, nil)
	if found, err := conn.Search(search); err == nil && len(found.Entries) > 0 {
		t.Error("entries can be read without a password")
	}
	if err := conn.Bind(s.ReaderDN(), "wrong"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("a wrong password gives %v", err)
	}
	if err := conn.Bind(s.ReaderDN(), strings.TrimSpace(mustRead(t, s.PasswordFile()))); err != nil {
		t.Fatal(err)
	}
	found, err := conn.Search(search)
	if err != nil || len(found.Entries) != 1 || found.Entries[0].GetAttributeValue("memberOf") != "cn=research,"+s.GroupsDN() {
		t.Errorf("search for bob gave %+v, %v", found, err)
	}

	pid, err := strconv.Atoi(strings.TrimSpace(mustRead(t, s.folder+"/pid")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	assertSilent(t, s)
	if err := s.Stop(); err != nil { // paused, with conn still open
		t.Fatal(err)
	}
	assertGone(t, s.folder, []int{pid})
}

// assertSilent fails if the server still answers.
func assertSilent(t *testing.T, s *Slapd) {
	t.Helper()
	for range 50 { // the signal may be on its way
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- s.asAdmin(ctx, func(*ldap.Conn) error { return nil }) }()
		select {
		case <-done:
			cancel()
			time.Sleep(pollInterval)
		case <-time.After(300 * time.Millisecond):
			cancel()
			return
		}
	}
	t.Error("a paused server answers")
}

func TestSlapdKilledEnds(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s, err := StartSlapd(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for !s.guard.ended() {
		if ctx.Err() != nil {
			t.Fatal("it still runs")
		}
		time.Sleep(pollInterval)
	}
	if err := s.Add(ctx, LDAPEntry{DN: "cn=late," + s.PeopleDN()}); err == nil {
		t.Error("a killed server takes an entry")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.folder); err == nil {
		t.Error("its folder is still there")
	}
}
