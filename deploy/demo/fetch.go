package main

// Fetching files as a person does: open the page, press each Download button.

import (
	"context"
	"fmt"
	"html"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// button is one of a page: a file's name, and behind it the hidden field that its
// form sends.
var button = regexp.MustCompile(`(?s)<h2><bdi dir="ltr">([^<]*)</bdi></h2>.*?name="file" value="(\d+)"`)

// choices reads the page of a link: the values of its buttons by file name.
func choices(ctx context.Context, link string) (map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	_, page, err := exchange(req)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, m := range button.FindAllSubmatch(page, -1) {
		values[html.UnescapeString(string(m[1]))] = string(m[2])
	}
	return values, nil
}

// fetch downloads every file behind a link, by name.
func fetch(ctx context.Context, link string) (map[string][]byte, error) {
	values, err := choices(ctx, link)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, value := range slices.Sorted(maps.Values(values)) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, link, strings.NewReader(url.Values{"file": {value}}.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		header, content, err := exchange(req)
		if err != nil {
			return nil, err
		}
		_, params, err := mime.ParseMediaType(header.Get("Content-Disposition"))
		if err != nil {
			return nil, fmt.Errorf("Content-Disposition of a download from %s: %w", link, err)
		}
		files[params["filename"]] = content
	}
	return files, nil
}

// exchange sends a request, follows where it leads, and wants success.
func exchange(req *http.Request) (http.Header, []byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", req.Method, req.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s %s: %s", req.Method, req.URL, resp.Status)
	}
	return resp.Header, body, nil
}

// download shows that looking is free, and that what is fetched is what was sent.
func (t *tour) download(ctx context.Context) error {
	values, err := choices(ctx, t.link)
	if err != nil {
		return err
	}
	t.say("The page behind the link lists %s. A scanner or preview that opens it fetches and counts nothing.",
		strings.Join(slices.Sorted(maps.Keys(values)), " and "))
	var before []struct{ Downloads int }
	if err := t.ask(ctx, &before, "links", "list"); err != nil {
		return err
	}
	t.line("")
	t.check(len(before) == 1 && before[0].Downloads == 0, "the page was opened, and no download is counted")
	t.say("Each file has a Download button, a form that is sent by POST. This does the same:")
	t.command("curl -L -OJ -d file=" + values["north-hall.pdf"] + " " + t.link)
	t.say("The SHA-256 of each file, as Ann sent it and as Bob got it by POST:")
	fetched, err := fetch(ctx, t.link)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		t.pair(fmt.Sprintf("%s, %s", name, size(len(fetched[name]))), "sent", sum(t.files[name]), "downloaded", sum(fetched[name]))
	}
	t.line("")
	t.check(len(fetched) == len(t.files), "the link has these %d files and no others", len(t.files))
	return nil
}
