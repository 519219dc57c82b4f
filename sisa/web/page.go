package web

// The pages: templates, and what is filled into them.

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"time"

	"cloakroom/sisa"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed templates/style.css
var style string

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.html"))

// contentSecurityPolicy allows a page its style sheet and its forms, and any
// other answer nothing it could use. form-action also governs where a form's
// redirect leads to: it is relative, so 'self' holds.
var contentSecurityPolicy = "default-src 'none'; style-src '" + styleHash() + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

const (
	maxSubjectBytes = 500 // bytes of a subject that are shown; longer ones are not for people
	maxSenderBytes  = 320 // an address at its longest (RFC 5321 section 4.5.3.1: 64, @, 255)
)

// frame is what every page has.
type frame struct {
	Title string
	Host  string // "" says nothing about whose server this is
	Style template.CSS
}

type filesPage struct {
	frame
	Heading string
	Sender  string // "" for the null sender
	Subject string
	Sent    moment
	Expires moment // the zero value: never
	Left    string
	Total   string // size of all files, where there are several
	Files   []fileRow
}

type fileRow struct {
	Part   int
	Name   string
	Badge  string
	Type   string
	Size   string
	SHA256 string
}

// renderFiles makes the page of a link.
func renderFiles(host string, link sisa.Link, now time.Time) ([]byte, error) {
	page := filesPage{
		Heading: count(len(link.Files), "file"),
		Sender:  cutText(cleanText(link.Sender), maxSenderBytes),
		Subject: cutText(cleanText(link.Subject), maxSubjectBytes),
		Sent:    momentOf(link.Created),
	}
	if !link.Expires.IsZero() {
		page.Expires = momentOf(link.Expires)
		page.Left = leftWords(link.Expires.Sub(now))
	}
	var total int64
	for _, f := range link.Files {
		total += f.Size
		name := cleanName(f.Name)
		page.Files = append(page.Files, fileRow{
			Part:   f.Part,
			Name:   name,
			Badge:  badge(name),
			Type:   typeWords(f.Type),
			Size:   sizeWords(f.Size),
			SHA256: hex.EncodeToString(f.SHA256[:]),
		})
	}
	if len(link.Files) > 1 {
		page.Total = sizeWords(total)
	}
	title := page.Heading
	if page.Sender != "" {
		title += " from " + page.Sender
	}
	page.frame = frame{Title: title, Host: host, Style: template.CSS(style)}
	return render("files.html", page)
}

func render(name string, data any) ([]byte, error) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return out.Bytes(), nil
}
