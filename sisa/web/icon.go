package web

// The icon of a file: which of our drawings (templates/icons.html) suits it.

import (
	"path"
	"slices"
	"strings"
)

// What icons there are; each is a symbol "i-…" in the page.
const (
	iconFile    = "file"
	iconPDF     = "pdf"
	iconText    = "text"
	iconSheet   = "sheet"
	iconSlides  = "slides"
	iconImage   = "image"
	iconAudio   = "audio"
	iconVideo   = "video"
	iconArchive = "archive"
	iconCode    = "code"
	iconMail    = "mail"
	iconDate    = "date"
	iconPerson  = "person"
)

var allIcons = []string{iconFile, iconPDF, iconText, iconSheet, iconSlides, iconImage, iconAudio, iconVideo,
	iconArchive, iconCode, iconMail, iconDate, iconPerson}

// What a media type's name contains decides first, then the file name's
// extension: much mail declares everything as application/octet-stream.
var iconTypes = []struct{ part, icon string }{
	{"image/", iconImage}, {"audio/", iconAudio}, {"video/", iconVideo},
	{"/pdf", iconPDF}, {"text/calendar", iconDate}, {"vcard", iconPerson}, {"message/", iconMail}, {"vnd.ms-outlook", iconMail},
	{"spreadsheet", iconSheet}, {"excel", iconSheet}, {"csv", iconSheet},
	{"presentation", iconSlides}, {"powerpoint", iconSlides},
	{"wordprocessing", iconText}, {"msword", iconText}, {"opendocument.text", iconText}, {"rtf", iconText},
	{"zip", iconArchive}, {"x-7z", iconArchive}, {"vnd.rar", iconArchive}, {"x-rar", iconArchive}, {"x-tar", iconArchive}, {"compress", iconArchive},
	{"postscript", iconPDF},
	{"json", iconCode}, {"xml", iconCode}, {"html", iconCode}, {"script", iconCode},
	{"text/", iconText},
}

var iconExtensions = map[string]string{
	iconPDF:     "pdf ps xps",
	iconText:    "txt md doc docx docm odt rtf pages tex epub",
	iconSheet:   "xls xlsx xlsm xlsb ods csv tsv numbers",
	iconSlides:  "ppt pptx pptm odp key",
	iconImage:   "jpg jpeg png gif webp heic heif tif tiff bmp svg psd ai eps raw dng avif dwg dxf",
	iconAudio:   "mp3 wav ogg oga opus flac m4a aac wma mid",
	iconVideo:   "mp4 mov avi mkv webm wmv m4v mpg mpeg",
	iconArchive: "zip 7z rar gz tgz tar bz2 xz zst iso dmg cab",
	iconCode:    "html htm xml json yaml yml js ts go py rb c h cc cpp java cs rs sh bat ps1 sql css log",
	iconMail:    "eml msg mbox",
	iconDate:    "ics",
	iconPerson:  "vcf",
}

func iconOf(name, declared string) string {
	if mediaType, ok := parseType(declared); ok && mediaType != opaqueType {
		for _, t := range iconTypes {
			if strings.Contains(mediaType, t.part) {
				return t.icon
			}
		}
	}
	ext := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	for icon, extensions := range iconExtensions {
		if slices.Contains(strings.Fields(extensions), ext) {
			return icon
		}
	}
	return iconFile
}
