package web

// The pages: templates, and what is filled into them.

import (
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"slices"
	"strconv"

	"cloakroom/sisa"
)

//go:embed templates/*.html
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.html"))

const (
	maxSubjectBytes = 500 // bytes of a subject that are shown; longer ones are not for people
	maxSenderBytes  = 320 // an address at its longest (RFC 5321 section 4.5.3.1: 64, @, 255)
)

// frame is what every page has.
type frame struct {
	*face
	T     *texts
	Title string
	Known bool // a link was found: the page may say whose server this is
}

func (s *Site) frame(x *exchange, title string) frame {
	return frame{face: s.face, T: x.texts, Title: title}
}

type filesPage struct {
	frame
	Heading   template.HTML
	Subject   string
	Sent      moment
	Available template.HTML
	Total     string // size of all files, where there are several
	All       string // what the button for all files says; "" where there is one file
	Files     []fileRow
	Icons     []string // the icons of Files, each once
	Advice    string
}

type fileRow struct {
	Part    int
	Name    string
	Icon    string
	Kind    string
	Size    string
	SHA256  string
	Preview string // address of a small image; "" for none
	Left    string // how often it can be fetched yet; "" where that is not limited
	Closed  bool   // it cannot be fetched any more
}

// renderFiles makes the page of a link.
func (s *Site) renderFiles(x *exchange, link sisa.Link) ([]byte, error) {
	t, fetched := x.texts, s.fetched(x, link.ID)
	page := filesPage{
		Subject: cutText(cleanText(link.Subject), maxSubjectBytes),
		Sent:    t.momentOf(link.Created, s.zone),
		Advice:  t.Say("advice"),
	}
	if link.Guard.ByMail || link.Guard.Password != "" {
		page.Advice = t.Say("advice_closed")
	}
	var total int64
	allOpen := true
	for _, f := range link.Files {
		total += f.Size
		row := s.fileRow(t, link.ID, f)
		if link.Limited() {
			_, again := fetched[f.Part]
			row.Left, row.Closed = leftOf(t, f, again)
			allOpen = allOpen && !row.Closed
		}
		page.Files = append(page.Files, row)
		if !slices.Contains(page.Icons, row.Icon) {
			page.Icons = append(page.Icons, row.Icon)
		}
	}
	if !allOpen {
		page.Advice = t.Say("downloads_ask")
	}
	if len(link.Files) > 1 {
		page.Total = t.sizeWords(total)
		if allOpen {
			page.All = t.Say("download_all_size", "size", page.Total)
		}
	}
	title, err := s.headings(&page, t, link)
	if err != nil {
		return nil, err
	}
	page.frame = s.frame(x, title)
	page.Known = true
	return render("files.html", page)
}

// headings fills what is made of several pieces, and gives the title.
func (s *Site) headings(page *filesPage, t *texts, link sisa.Link) (title string, err error) {
	title = t.Count("files", len(link.Files))
	page.Heading = template.HTML(template.HTMLEscapeString(title))
	if sender := cutText(cleanText(link.Sender), maxSenderBytes); sender != "" {
		page.Heading, err = t.Markup("files_from", "files", page.Heading,
			"sender", template.HTML("<bdi>"+template.HTMLEscapeString(sender)+"</bdi>"))
		title = t.Say("files_from", "files", title, "sender", sender)
	}
	if err != nil {
		return "", err
	}
	page.Available = template.HTML(template.HTMLEscapeString(t.Say("available_always")))
	if !link.Expires.IsZero() {
		until := t.momentOf(link.Expires, s.zone)
		date := `<time datetime="` + until.ISO + `">` + template.HTMLEscapeString(until.Words) + `</time>`
		left := template.HTMLEscapeString(t.leftWords(link.Expires.Sub(s.now())))
		page.Available, err = t.Markup("available_until", "date", template.HTML(date), "left", template.HTML(left))
	}
	return title, err
}

func (s *Site) fileRow(t *texts, linkID string, f sisa.File) fileRow {
	name := cleanName(f.Name)
	row := fileRow{
		Part:   f.Part,
		Name:   name,
		Icon:   iconOf(name, f.Type),
		Kind:   t.kindWords(f.Type),
		Size:   t.sizeWords(f.Size),
		SHA256: hex.EncodeToString(f.SHA256[:]),
	}
	if s.previews != nil && previewable(f) {
		ticket := s.signer.ticket(ticketPreview, linkID, strconv.Itoa(f.Part), s.now().Add(s.ttl))
		row.Preview = ticket.location("preview")
	}
	return row
}

// leftOf says how often a file can be fetched yet, and whether it is over for
// this visitor.
func leftOf(t *texts, f sisa.File, again bool) (words string, closed bool) {
	if f.Left > 0 {
		return t.Count("downloads_left", int(f.Left)), false
	}
	if again {
		return t.Say("downloads_yours"), false
	}
	return t.Say("downloads_none"), true
}

func render(name string, data any) ([]byte, error) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return out.Bytes(), nil
}
