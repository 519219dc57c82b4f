package admin

// The store and the audit.

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"cloakroom/ledger/audit"
	"cloakroom/ledger/hours"
)

// storeDays is how far back the store's chart goes.
const storeDays = 90

type storeData struct {
	Sizes       sizes
	Ever        day
	Free, Total int64
	Low         bool // no links are made
	Chart       *chart
	Links       *chart
}

// Used is what is taken of the disk.
func (d storeData) Used() int64 { return d.Total - d.Free }

func (s *Server) storePage(r *http.Request, f *frame) (string, any, error) {
	f.Title = "Store"
	now := s.now()
	sp := span{"90d", "90 days", storeDays, 24 * time.Hour}
	starts := sp.starts(now)
	found, err := hours.Since(r.Context(), s.watch.p.DB.Read(), starts[0])
	if err != nil {
		return "", nil, err
	}
	ever, err := hours.Ever(r.Context(), s.watch.p.DB.Read())
	if err != nil {
		return "", nil, err
	}
	pending, _ := s.watch.pending()
	for name, n := range pending {
		ever[name] += n
	}
	d := &storeData{Sizes: s.watch.current().sizes, Ever: dayOf(ever)}
	if s.watch.p.Disk != nil {
		if d.Free, d.Total, d.Low, err = s.watch.p.Disk(); err != nil {
			return "", nil, err
		}
	}
	labels, names := make([]string, len(starts)), make([]string, len(starts))
	for i, t := range starts {
		labels[i], names[i] = t.Format("2 Jan"), t.Format("Mon 2 Jan 2006")
	}
	d.Chart = &chart{ID: "bytes", Title: "Size of the store", About: "Bytes of the files in the store, as counted each hour, over 90 days", Labels: labels, Names: names, Bytes: true,
		Words: func(v float64) string { return size(int64(v)) }, Lines: true, Series: []series{{"bytes", "c1", points(starts, found, hourBytes, true)}}}
	d.Links = &chart{ID: "links", Title: "Links", About: "Links, as counted each hour, over 90 days", Labels: labels, Names: names, Whole: true,
		Words: func(v float64) string { return number(int64(v)) }, Lines: true, Series: []series{{"links", "c0", points(starts, found, hourLinks, true)}}}
	return "store.html", d, nil
}

type auditPage struct {
	Acts  []audit.Act
	Actor string
	More  string
}

func (s *Server) audit(r *http.Request, f *frame) (string, any, error) {
	f.Title = "Audit"
	p := &auditPage{Actor: trimmed(r, "actor")}
	filter := audit.Filter{Actor: p.Actor, Limit: pageRows + 1}
	q := r.URL.Query()
	if ms, err := strconv.ParseInt(q.Get("before"), 10, 64); err == nil {
		filter.Before = time.UnixMilli(ms)
	}
	var err error
	if p.Acts, err = audit.List(r.Context(), s.watch.p.DB.Read(), filter); err != nil {
		return "", nil, err
	}
	if len(p.Acts) > pageRows {
		p.Acts = p.Acts[:pageRows]
		q.Set("before", strconv.FormatInt(p.Acts[pageRows-1].At.UnixMilli(), 10))
		p.More = "/audit?" + q.Encode()
	}
	return "audit.html", p, nil
}

// auditExport writes all acts as JSON, one a line, the newest first.
func (s *Server) auditExport(w http.ResponseWriter, r *http.Request) {
	acts, err := audit.List(r.Context(), s.watch.p.DB.Read(), audit.Filter{Actor: trimmed(r, "actor")})
	if err != nil {
		s.log.Error("admin: audit cannot be exported", "err", err)
		http.Error(w, "the audit cannot be read; the log says why", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Content-Disposition", `attachment; filename="cloakroom-audit.jsonl"`)
	lines := json.NewEncoder(w)
	for _, a := range acts {
		if lines.Encode(a) != nil {
			return // who asked has left
		}
	}
}
