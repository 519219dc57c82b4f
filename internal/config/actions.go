package config

// The actions of rules read YAML themselves, in forms that no struct has (a
// section, or false). Here is how they are described and written again.

import (
	"reflect"

	"github.com/goccy/go-yaml"

	"cloakroom/policy"
)

// actionForm is how an action is written, in words, and the struct whose keys
// stand below it; nil when it is one value.
type actionForm struct {
	words string
	keys  reflect.Type
}

func actionForms(t reflect.Type) (actionForm, bool) {
	switch t {
	case reflect.TypeFor[policy.LinkAction]():
		return actionForm{"section, or false", reflect.TypeFor[policy.LinkOptions]()}, true
	case reflect.TypeFor[policy.VaultAction]():
		return actionForm{"section, or false", reflect.TypeFor[policy.VaultOptions]()}, true
	case reflect.TypeFor[policy.ForwardAction]():
		return actionForm{"section, or false", reflect.TypeFor[policy.ForwardOptions]()}, true
	case reflect.TypeFor[policy.RejectAction]():
		return actionForm{"section, or false", reflect.TypeFor[policy.RejectOptions]()}, true
	case reflect.TypeFor[policy.HeaderAction]():
		return actionForm{"section, or false", reflect.TypeFor[policy.HeaderOptions]()}, true
	case reflect.TypeFor[policy.QuarantineAction]():
		return actionForm{words: "text, true or false"}, true
	case reflect.TypeFor[policy.TagAction]():
		return actionForm{words: "text, or false"}, true
	case reflect.TypeFor[policy.HeaderFields]():
		return actionForm{words: "section of named texts"}, true
	}
	return actionForm{}, false
}

// actionTree writes an action in the form it is read in.
func actionTree(value any) (any, bool) {
	out := yaml.MapSlice{}
	add := func(key string, value any) { out = append(out, yaml.MapItem{Key: key, Value: value}) }
	switch a := value.(type) {
	case policy.LinkAction:
		if a.Keep {
			return false, true
		}
		if a.Options.Expires != 0 {
			add("expires", FormatDuration(a.Options.Expires))
		}
		if a.Options.AcceptLoss {
			add("accept_loss", true)
		}
		if a.Options.Forwarded {
			add("forwarded", true)
		}
		if a.Options.Access != "" {
			add("access", a.Options.Access)
		}
		if a.Options.PasswordFile != "" {
			add("password_file", a.Options.PasswordFile)
		}
		if a.Options.Downloads != 0 {
			add("downloads", a.Options.Downloads)
		}
		if a.Options.Notify {
			add("notify", true)
		}
	case policy.VaultAction:
		if a.Never {
			return false, true
		}
		add("target", a.Options.Target)
		if a.Options.Space != "" {
			add("space", a.Options.Space)
		}
		if a.Options.Inline {
			add("inline", true)
		}
	case policy.ForwardAction:
		if a.Stay {
			return false, true
		}
		add("alternate", a.Options.Alternate)
	case policy.RejectAction:
		if a.Never {
			return false, true
		}
		o := a.Options.Resolved()
		add("code", o.Code)
		add("enhanced", o.Enhanced)
		add("text", o.Text)
	case policy.QuarantineAction:
		if a.Never || a.Reason == "" {
			return !a.Never, true
		}
		return a.Reason, true
	case policy.HeaderAction:
		if a.Never {
			return false, true
		}
		if len(a.Options.Add) > 0 {
			fields := yaml.MapSlice{}
			for _, f := range a.Options.Add {
				fields = append(fields, yaml.MapItem{Key: f.Name, Value: f.Value})
			}
			add("add", fields)
		}
		if len(a.Options.Remove) > 0 {
			add("remove", tree(reflect.ValueOf(a.Options.Remove)))
		}
	case policy.TagAction:
		if a.Never {
			return false, true
		}
		return a.Text, true
	default:
		return nil, false
	}
	return out, true
}
