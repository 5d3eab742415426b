//! Charts as SVG for web pages: self-contained, no script, no style sheet, readable aloud.

use std::fmt::Write;

use super::chart::{Frame, draw};
use super::document::Chart;
use super::shape::{Anchor, Face, Ink, Shape, Spot};
use super::text::inert;

/// The coordinate system of the drawing; a page scales it to its own width.
const FRAME: Frame = Frame { width: 720.0, height: 240.0, text: 11.0 };

/// `chart` as an `<svg>` element, to be put into HTML as it is. Words and axes take the color of
/// the text around them, so it fits dark pages too. Colors are attributes, not styles: a strict
/// `Content-Security-Policy` lets them pass.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" font-family=\"IBM Plex Sans, system-ui, sans-serif\">",
        FRAME.width, FRAME.height
    );
    element(&mut out, "title", &chart.title);
    element(&mut out, "desc", &summary(chart));
    for shape in draw(chart, FRAME) {
        write_shape(&mut out, &shape);
    }
    out.push_str("</svg>");
    out
}

/// What the chart shows, for those who hear it.
fn summary(chart: &Chart) -> String {
    let mut at: Vec<_> = chart.points.iter().map(|point| point.at).collect();
    at.sort_unstable();
    match (at.first(), at.last()) {
        (Some(first), Some(last)) => {
            format!("{} points from {} to {}, in {}", at.len(), first.day(), last.day(), chart.unit)
        }
        _ => "No points".to_owned(),
    }
}

fn write_shape(out: &mut String, shape: &Shape) {
    match shape {
        Shape::Stroke { points, width, ink } => {
            attribute_points(out, "<polyline fill=\"none\" points=\"", points);
            append(out, format_args!("\" stroke-width=\"{}\"{}/>", short(*width), paint("stroke", *ink)));
        }
        Shape::Fill { points, ink } => {
            attribute_points(out, "<polygon points=\"", points);
            append(out, format_args!("\"{}/>", paint("fill", *ink)));
        }
        Shape::Words { at, words, style, anchor } => {
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            let weight = if style.face == Face::Bold { " font-weight=\"600\"" } else { "" };
            append(
                out,
                format_args!(
                    "<text x=\"{}\" y=\"{}\" font-size=\"{}\"{anchor}{weight}{}>",
                    short(at.x),
                    short(at.y),
                    short(style.size),
                    paint("fill", style.ink)
                ),
            );
            escape(out, words);
            out.push_str("</text>");
        }
        Shape::Hint { points, words } => {
            attribute_points(out, "<polygon fill=\"none\" pointer-events=\"all\" points=\"", points);
            out.push_str("\">");
            element(out, "title", words);
            out.push_str("</polygon>");
        }
    }
}

fn attribute_points(out: &mut String, open: &str, points: &[Spot]) {
    out.push_str(open);
    for (index, point) in points.iter().enumerate() {
        let gap = if index == 0 { "" } else { " " };
        append(out, format_args!("{gap}{},{}", short(point.x), short(point.y)));
    }
}

/// Data has its own color; everything else is a shade of the page's text.
fn paint(attribute: &str, ink: Ink) -> String {
    let opacity = match ink {
        Ink::Text => "1",
        Ink::Muted => "0.7",
        Ink::Hairline | Ink::Panel => "0.15",
        Ink::Series | Ink::Band => {
            let [red, green, blue] = Ink::Series.rgb();
            let shade = if ink == Ink::Band { format!(" {attribute}-opacity=\"0.25\"") } else { String::new() };
            return format!(" {attribute}=\"#{red:02x}{green:02x}{blue:02x}\"{shade}");
        }
    };
    format!(" {attribute}=\"currentColor\" {attribute}-opacity=\"{opacity}\"")
}

fn element(out: &mut String, name: &str, words: &str) {
    append(out, format_args!("<{name}>"));
    escape(out, words);
    append(out, format_args!("</{name}>"));
}

/// Characters that XML forbids are replaced, those that mean something to it are escaped.
fn escape(out: &mut String, words: &str) {
    for c in inert(words).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
}

/// A length with at most two decimals.
fn short(number: f32) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    out.write_fmt(arguments).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn bars_and_lines_are_drawn() {
        let pretty = |chart: &Chart| svg(chart).replace("><", ">\n<");
        insta::assert_snapshot!("bars", pretty(&samples::downloads(4)));
        insta::assert_snapshot!("line", pretty(&samples::roas(4)));
    }

    #[test]
    fn words_cannot_leave_their_element() {
        let mut chart = samples::downloads(2);
        chart.title = "</title><script>alert('1')</script>\0".to_owned();
        chart.unit = "\"><img src=x onerror=alert(1)>".to_owned();
        let text = svg(&chart);
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains('\0'));
        assert!(text.contains("&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;\u{fffd}"));
    }
}
