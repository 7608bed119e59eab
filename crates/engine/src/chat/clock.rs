//! Python's `strftime` for the time in UTC, as far as chat templates use it.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Formats `seconds` since 1970, or returns none for a directive that is unknown here.
pub(crate) fn format(seconds: u64, format: &str) -> Option<String> {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[(days % 7) as usize];
    let mut result = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            result.push(letter);
            continue;
        }
        let mut directive = letters.next()?;
        // glibc's "-" leaves the padding out.
        let padded = directive != '-';
        if !padded {
            directive = letters.next()?;
        }
        let two = |value: u64| if padded { format!("{value:02}") } else { value.to_string() };
        result.push_str(&match directive {
            'Y' => year.to_string(),
            'y' => two(year % 100),
            'm' => two(month),
            'd' => two(day),
            'H' => two(rest / 3600),
            'I' => two((rest / 3600 + 11) % 12 + 1),
            'M' => two(rest / 60 % 60),
            'S' => two(rest % 60),
            'p' => if rest < 43_200 { "AM" } else { "PM" }.to_owned(),
            'B' => month_name.to_owned(),
            'b' => month_name[..3].to_owned(),
            'A' => day_name.to_owned(),
            'a' => day_name[..3].to_owned(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'T' => format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60),
            '%' => "%".to_owned(),
            _ => return None,
        });
    }
    Some(result)
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01 (H. Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`): years counted from March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn known_moments() {
        // As `date -u -d @SECONDS` prints them.
        let all = "%A %a %d %-d %B %b %m %Y %y %H:%M:%S %I %p %F %T 100%%";
        let at = |seconds| format(seconds, all).unwrap();
        assert_eq!(at(0), "Thursday Thu 01 1 January Jan 01 1970 70 00:00:00 12 AM 1970-01-01 00:00:00 100%");
        assert_eq!(
            at(951_827_696),
            "Tuesday Tue 29 29 February Feb 02 2000 00 12:34:56 12 PM 2000-02-29 12:34:56 100%"
        );
        assert_eq!(
            at(1_735_689_599),
            "Tuesday Tue 31 31 December Dec 12 2024 24 23:59:59 11 PM 2024-12-31 23:59:59 100%"
        );
    }

    #[test]
    fn unknown_directives_are_refused() {
        assert_eq!(format(0, "%Q"), None);
        assert_eq!(format(0, "%"), None);
    }
}
