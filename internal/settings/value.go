package settings

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setText sets a value from one text.
func setText(v reflect.Value, f field, text string) error {
	if v.Kind() == reflect.Slice && !isText(v.Type()) {
		list := reflect.MakeSlice(v.Type(), 0, 0)
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
			one := reflect.New(v.Type().Elem()).Elem()
			if err := setText(one, f, strings.TrimSpace(part)); err != nil {
				return err
			}
			list = reflect.Append(list, one)
		}
		v.Set(list)
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == durationType:
		d, err := ParseDuration(text)
		v.SetInt(int64(d))
		return err
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("true or false, not %q", text)
		}
		v.SetBool(text == "true")
	case v.Kind() == reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("a number, not %q", text)
		}
		v.SetFloat(x)
	case f.as == "size":
		n, err := ParseSize(text)
		if err == nil && v.OverflowInt(n) {
			err = errSize(text)
		}
		v.SetInt(n)
		return err
	default:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("a whole number, not %q", text)
		}
		v.SetInt(n)
	}
	return nil
}

// textOf writes a value as setText reads it.
func textOf(v reflect.Value, f field) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err == nil {
			return string(text)
		}
	}
	switch {
	case v.Type() == durationType:
		return FormatDuration(time.Duration(v.Int()))
	case f.as == "size":
		return FormatSize(v.Int())
	}
	return fmt.Sprint(v.Interface())
}

// day is always 24 hours: retention is no calendar.
const day = 24 * time.Hour

// ParseDuration reads a duration as Go writes it, with days (d, 24 hours) before it where there are any: 10m,
// 30d, 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("a duration such as 200ms, 10m or 30d, not %q", text)
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "", text
	}
	var sum time.Duration
	if found {
		n, err := strconv.ParseUint(days, 10, 31)
		if err != nil || n > uint64(math.MaxInt64/day) {
			return 0, wrong
		}
		if sum = time.Duration(n) * day; rest == "" {
			return sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || found && (d < 0 || d > math.MaxInt64-sum || rest[0] == '+') {
		return 0, wrong
	}
	return sum + d, nil
}

// FormatDuration writes a duration as ParseDuration reads it, without parts that are zero.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	if d < 0 {
		return d.String()
	}
	var b strings.Builder
	if d >= day {
		fmt.Fprintf(&b, "%dd", d/day)
		if d %= day; d == 0 {
			return b.String()
		}
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return b.String() + text
}

// units of sizes, the largest first.
var units = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

func errSize(text string) error {
	return fmt.Errorf("a size such as 4096, 64KiB or 1MiB, not %q", text)
}

// ParseSize reads a number of bytes, with a unit or without: 65536, 64KiB, 64 KiB, 100MB.
func ParseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(n), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, errSize(text)
	}
	return n * unit, nil
}

// FormatSize writes a number of bytes with the largest unit that divides it.
func FormatSize(n int64) string {
	for _, u := range units[:4] {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

var errNoValue = errors.New("no value is given")
