package admin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger/tally"
	"cloakroom/sisa"
)

// counted has three weeks of mail counted, the last of them in mode enforce.
func (s *stage) counted() {
	s.t.Helper()
	c := tally.NewCounter()
	now := time.Now()
	for day := range 21 {
		at := now.AddDate(0, 0, -day)
		observed := day > 2
		stored := int64(700_000)
		if observed {
			stored = 0
		}
		for n := range 5 {
			m := tally.Mail{At: at, Observed: observed, Direction: "outbound", From: "alice@acmecorp.test", To: []string{"@ext.test", "bob@acmecorp.test"}}
			m.Add(tally.Act{Action: tally.Seen, Detail: "linked", Bytes: 1_300_000})
			m.Add(tally.Act{Action: tally.Linked, Parts: 2, Bytes: 900_000})
			m.Add(tally.Act{Action: tally.Link, Rule: "large files <become> links", Parts: 2, Bytes: 900_000})
			m.Add(tally.Act{Action: tally.Vault, Rule: "research vault", Detail: "assets", Parts: 1, Bytes: 400_000})
			m.Add(tally.Act{Action: tally.Forward, Rule: "gapps", Detail: "gapps.acmecorp.test", Parts: 1})
			m.Add(tally.Act{Action: tally.Stays, Detail: "the mail is signed", Parts: 1, Bytes: 30_000})
			m.Add(tally.Act{Action: tally.Stored, Bytes: stored})
			if observed {
				m.Files = []tally.Content{{SHA256: [32]byte{byte(n)}, Size: 900_000}}
			}
			c.Add(m)
		}
	}
	if err := c.Flush(s.t.Context(), s.db, now); err != nil {
		s.t.Fatal(err)
	}
}

func TestTheReportIsThatOfTheCommand(t *testing.T) {
	s := newStage(t)
	if status, body := s.get("/report"); status != 200 || !strings.Contains(body, "No mail was counted") {
		t.Errorf("nothing counted: %d\n%s", status, body)
	}
	s.counted()
	both := []string{"Mode observe: what would have become of the mail", "Nothing was changed", "Mode enforce: what became of the mail", "would become links", "became links",
		"large files &lt;become&gt; links", "the mail is signed", "alice@acmecorp.test", "@ext.test", "research vault", "outbound", "gapps.acmecorp.test", "assets"}
	for path, texts := range map[string][]string{
		"/report":          append(both, `<div class="value">20</div>`, `<div class="value">15</div>`, "100 % of all", "17.2 MB"),
		"/report?span=30d": append(both, `<div class="value">90</div>`, `<div class="value">180</div>`),
		"/report?span=x":   both,
	} {
		status, body := s.get(path)
		if status != 200 {
			t.Errorf("%s: %d\n%s", path, status, body)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				t.Errorf("%s does not show %q", path, text)
			}
		}
	}
	_, body := s.get("/report?span=1d")
	if strings.Contains(body, "observe") || !strings.Contains(body, `<div class="value">5</div>`) {
		t.Errorf("today there was only mode enforce:\n%s", body)
	}
}

func TestTheLinkPageTellsWhoMayOpenIt(t *testing.T) {
	s := newStage(t)
	_, open := s.mail(1, "open")
	_, token := s.guarded(2, "guarded", sisa.Guard{ByMail: true, Recipients: []string{"bob@ext.test", "carol@acmecorp.test"}, Downloads: 3, Notify: true})
	_, lost := s.mail(3, "lost")
	for range 2 {
		err := s.links.Downloaded(t.Context(), sisa.Download{LinkID: sisa.TokenID(token), Part: 2, Client: "198.51.100.9", At: time.Now(), Proven: "bob@ext.test"})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.commit(func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE links SET guard = NULL WHERE id = x'%s'`, sisa.TokenID(lost)))
		return err
	})
	page := func(token string) string {
		t.Helper()
		status, body := s.get("/links/" + sisa.TokenID(token))
		if status != 200 {
			t.Fatalf("%d\n%s", status, body)
		}
		return body
	}
	body := page(token)
	for _, text := range []string{"<dt>opens to</dt><dd>recipients</dd>", "<dt>codes go to</dt><dd>bob@ext.test, carol@acmecorp.test</dd>", "<dt>downloads</dt><dd>2, the last 20",
		"plans for the new building.pdf: 1 <span", "(3 of each file were allowed)", "its sender of the first download", `data-name="proved">bob@ext.test</td>`} {
		if !strings.Contains(body, text) {
			t.Errorf("the page does not show %q:\n%s", text, body)
		}
	}
	if body := page(open); !strings.Contains(body, "<dt>opens to</dt><dd>anyone</dd>") || strings.Contains(body, "downloads left") || strings.Contains(body, "codes go to") {
		t.Errorf("a link without a guard:\n%s", body)
	}
	if body := page(lost); !strings.Contains(body, "<dt>opens to</dt><dd>nobody</dd>") {
		t.Errorf("a link whose guard is lost:\n%s", body)
	}
	if err := s.links.Protect(t.Context(), []string{sisa.TokenID(open)}, sisa.Access{Password: "$2a$04$secretsecretsecret"}, sisa.Act{By: "test"}); err != nil {
		t.Fatal(err)
	}
	if body := page(open); !strings.Contains(body, "password <span class=\"quiet\">(said by an administrator)") || strings.Contains(body, "secretsecret") {
		t.Errorf("a link with a password:\n%s", body)
	}
}
