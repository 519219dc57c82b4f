package testserver

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

func TestDovecotServesItsAccountsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	began := time.Now()
	d, err := StartDovecot(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	t.Logf("ready after %v", time.Since(began))

	plain, err := imapclient.DialInsecure(d.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Login("bob@acmecorp.test", "wrong").Wait(); err == nil {
		t.Error("a wrong password is taken")
	}
	if err := plain.Login("bob@acmecorp.test", d.Password()).Wait(); err != nil {
		t.Fatal(err)
	}
	const text = "Subject: hello\r\n\r\nthe body\r\n"
	add := plain.Append("INBOX", int64(len(text)), nil)
	if _, err := add.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := add.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := add.Wait(); err != nil {
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(mustRead(t, d.CAFile())))
	secure, err := imapclient.DialTLS(d.TLSAddress(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	for user, want := range map[string]uint32{"bob@acmecorp.test": 1, "carol@acmecorp.test": 0} {
		c, err := imapclient.DialTLS(d.TLSAddress(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login(user, d.Password()).Wait(); err != nil {
			t.Fatal(err)
		}
		if box, err := c.Select("INBOX", nil).Wait(); err != nil || box.NumMessages != want {
			t.Errorf("%s has %+v, %v", user, box, err)
		}
	}

	pid, err := strconv.Atoi(strings.TrimSpace(mustRead(t, d.folder+"/run/master.pid")))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil { // with sessions still open
		t.Fatal(err)
	}
	assertGone(t, d.folder, []int{pid})
}
