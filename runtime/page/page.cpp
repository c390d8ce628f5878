#include "runtime/page/page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/xml.hpp"
#include "io/json_text.hpp"
#include "runtime/page/chart.hpp"
#include "runtime/page/trace_picture.hpp"

namespace collie {

namespace {

constexpr const char* page_style = R"(
:root { color-scheme: light dark; --back: #ffffff; --text: #1f2328; --faint: #6a737d; --grid: #e3e6ea;
  --c0: #3b6fb6; --c1: #d9822b; --c2: #2f9c7f; --c3: #8a5fb0; --c4: #c4504f; --c5: #9aa0a6; }
@media (prefers-color-scheme: dark) { :root { --back: #16191d; --text: #e4e7eb; --faint: #9aa3ad; --grid: #2c3138;
  --c0: #6ea3ea; --c1: #eba45c; --c2: #56c6a8; --c3: #b791dd; --c4: #e5807f; --c5: #adb3b9; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1180px; padding: 24px 16px 64px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 36px 0 8px; } h3 { font-size: 14px; margin: 0 0 4px; }
p, td, th { color: var(--text); } .faint { color: var(--faint); }
.charts { display: grid; gap: 20px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
svg { display: block; max-width: 100%; height: auto; } svg text { fill: var(--faint); font-size: 11px; }
.grid { stroke: var(--grid); } polyline { fill: none; stroke-width: 1.6; }
polyline.s0 { stroke: var(--c0); } polyline.s1 { stroke: var(--c1); } polyline.s2 { stroke: var(--c2); }
polyline.s3 { stroke: var(--c3); } polyline.s4 { stroke: var(--c4); } polyline.s5 { stroke: var(--c5); }
circle.s0, rect.s0, .key.s0 { fill: var(--c0); background: var(--c0); }
circle.s1, rect.s1, .key.s1 { fill: var(--c1); background: var(--c1); }
circle.s2, rect.s2, .key.s2 { fill: var(--c2); background: var(--c2); }
circle.s3, rect.s3, .key.s3 { fill: var(--c3); background: var(--c3); }
circle.s4, rect.s4, .key.s4 { fill: var(--c4); background: var(--c4); }
circle.s5, rect.s5, .key.s5 { fill: var(--c5); background: var(--c5); }
.key { border-radius: 2px; display: inline-block; height: 10px; margin: 0 5px 0 12px; width: 10px; }
table { border-collapse: collapse; } td, th { padding: 2px 14px 2px 0; text-align: left; vertical-align: top; }
.item { white-space: nowrap; } .wide { overflow-x: auto; } pre { overflow-x: auto; font-size: 13px; }
.bar { background: var(--grid); display: flex; height: 14px; min-width: 240px; width: 36vw; }
.bar span { height: 100%; }
)";

std::string number_words(double value) {
  if (value != 0 && (std::abs(value) >= 1e5 || std::abs(value) < 1e-3)) return fmt::format("{:.2g}", value);
  return fmt::format("{:.4g}", value);
}

std::string byte_words(double value) {
  return human_bytes(static_cast<size_t>(std::max(value, 0.0)));
}

// Keys of the records that are no curves of their own.
bool is_drawn(const std::string& name) {
  static const std::array<const char*, 7> left_out = {"step",
                                                      "epoch",
                                                      "tokens",
                                                      "step_seconds",
                                                      "tokens_per_second_per_device",
                                                      "slowest_rank",
                                                      "slowest_rank_since_step"};
  return std::find(left_out.begin(), left_out.end(), name) == left_out.end();
}

// Of every number, by its name.
std::vector<Curve> curves_of(const std::vector<nlohmann::json>& records) {
  std::vector<Curve> curves;
  std::map<std::string, size_t> places;
  for (const auto& record : records)
    for (const auto& [name, value] : record.items()) {
      if (!is_drawn(name) || !value.is_number() || !std::isfinite(value.get<double>())) continue;
      const auto [place, is_new] = places.emplace(name, curves.size());
      if (is_new) curves.push_back({name, {}, false});
      curves[place->second].points.emplace_back(record.value("step", 0.0), value.get<double>());
    }
  // Evaluations are few beside steps.
  for (Curve& curve : curves)
    curve.dots = curve.points.size() <= 100 && 2 * curve.points.size() <= records.size();
  return curves;
}

std::string legend(const std::vector<std::string>& names) {
  std::string html;
  for (size_t i = 0; i < names.size(); ++i)
    html += fmt::format("<span class=\"item\"><span class=\"key s{}\"></span>{}</span> ", i % 6,
                        xml_escaped(names[i]));
  return html;
}

std::string figure(const std::vector<Curve>& curves) {
  std::vector<std::string> names;
  for (const Curve& curve : curves) names.push_back(curve.name);
  const std::string& first = curves.front().name;
  const bool bytes = first.ends_with("bytes") || first.starts_with("peak_bytes/");
  return fmt::format("<figure style=\"margin:0\"><h3>{}</h3>\n{}</figure>\n",
                     curves.size() == 1 ? xml_escaped(names.front()) : legend(names),
                     chart_svg(curves, bytes ? byte_words : number_words));
}

// Curves that are seen in one chart: the losses of training and evaluation, the shares of a step's time,
// memory by kind, and the norms of groups. The name of any other curve is a chart of its own.
std::string chart_of(const std::string& name) {
  if (name == "loss" || name == "eval_loss") return "losses";
  if (name.ends_with("_share")) return "shares";
  for (const char* front : {"peak_bytes/", "group_grad_norm/"})
    if (name.starts_with(front)) return front;
  return name;
}

std::string charts(const std::vector<nlohmann::json>& records) {
  std::vector<std::pair<std::string, std::vector<Curve>>> all;
  for (Curve& curve : curves_of(records)) {
    const std::string chart = chart_of(curve.name);
    auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.first == chart; });
    if (found == all.end()) found = all.insert(all.end(), {chart, {}});
    found->second.push_back(std::move(curve));
  }
  std::string html = "<div class=\"charts\">\n";
  for (const auto& [chart, curves] : all) html += figure(curves);
  return html + "</div>\n";
}

// A bar of shares of `whole`; the last class s5 is the rest.
std::string bar(const std::vector<double>& parts, double whole) {
  std::string html = "<div class=\"bar\">";
  for (size_t i = 0; i < parts.size(); ++i)
    html += fmt::format("<span class=\"key s{}\" style=\"margin:0;border-radius:0;width:{:.2f}%\"></span>",
                        i % 6, whole > 0 ? std::clamp(100 * parts[i] / whole, 0.0, 100.0) : 0.0);
  return html + "</div>";
}

std::string times(const RunPage& page) {
  std::string html = fmt::format(
      "<h2>Where the time went</h2>\n<p class=\"faint\">Of {:.1f} s since all ranks were ready.{}</p>\n"
      "<div class=\"wide\"><table><tr><th>rank</th><th></th><th>computing</th><th>communicating</th>"
      "<th>waiting</th><th>sent</th></tr>\n",
      page.wall_s, legend({"computing", "communicating"}));
  for (size_t rank = 0; rank < page.ranks.size(); ++rank) {
    const double communicating = page.ranks[rank].communicating_s,
                 computing = std::max(page.busy_s[rank] - communicating, 0.0);
    const auto share = [&](double seconds) {
      return fmt::format("{:.0f} %", page.wall_s > 0 ? 100 * std::max(seconds, 0.0) / page.wall_s : 0.0);
    };
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", rank,
                        bar({computing, communicating}, page.wall_s), share(computing), share(communicating),
                        share(page.wall_s - page.busy_s[rank]),
                        human_bytes(static_cast<size_t>(page.ranks[rank].sent_bytes)));
  }
  return html + "</table></div>\n";
}

std::string memory(const RunPage& page) {
  std::vector<std::string> names;
  for (size_t category = 0; category < category_count; ++category)
    names.emplace_back(name(static_cast<Category>(category)));
  size_t most = 1;
  for (const RankSummary& rank : page.ranks) {
    size_t sum = 0;
    for (const size_t bytes : rank.peak_bytes) sum += bytes;
    most = std::max(most, sum);
  }
  std::string html = fmt::format(
      "<h2>Where the memory went</h2>\n<p class=\"faint\">The peak of each kind, and of all together, which "
      "may "
      "be less than their sum.{}</p>\n<div class=\"wide\"><table><tr><th>rank</th><th></th>",
      legend(names));
  for (const std::string& each : names) html += "<th>" + xml_escaped(each) + "</th>";
  html += "<th>together</th></tr>\n";
  for (size_t rank = 0; rank < page.ranks.size(); ++rank) {
    const RankSummary& of = page.ranks[rank];
    html += fmt::format("<tr><td>{}</td><td>{}</td>", rank,
                        bar({of.peak_bytes.begin(), of.peak_bytes.end()}, static_cast<double>(most)));
    for (const size_t bytes : of.peak_bytes) html += "<td>" + human_bytes(bytes) + "</td>";
    html += "<td>" + human_bytes(of.peak_total_bytes) + "</td></tr>\n";
  }
  return html + "</table></div>\n";
}

std::string facts_table(const RunPage& page) {
  std::string html = "<table>\n";
  for (const auto& [what, value] : page.facts)
    html += fmt::format("<tr><td class=\"faint\">{}</td><td>{}</td></tr>\n", xml_escaped(what),
                        xml_escaped(value));
  return html + "</table>\n";
}

}  // namespace

std::string html_of(const RunPage& page) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{0}</title>\n<style>{1}</style></head><body>\n<h1>{0}</h1>\n<p class=\"faint\">{2}</p>\n",
      xml_escaped(page.name), page_style, xml_escaped(page.status));
  html += facts_table(page);
  html +=
      "<h2>Curves</h2>\n" + (page.records.empty() ? "<p>No step was recorded.</p>\n" : charts(page.records));
  if (!page.ranks.empty() && !page.ranks.front().peak_bytes.empty()) html += times(page) + memory(page);
  if (!page.traced.empty())
    html += fmt::format(
        "<h2>Step {}, rank by rank</h2>\n<p class=\"faint\">Each box is a task; the thin line below "
        "a lane is communication in the background.{}</p>\n<div class=\"wide\">{}</div>\n",
        page.traced_step, legend(trace_legend()), trace_picture(page.traced));
  html += fmt::format("<h2>Configuration</h2>\n<details><summary>all keys</summary><pre>{}</pre></details>\n",
                      xml_escaped(page.configuration));
  return html + "</body></html>\n";
}

std::vector<nlohmann::json> records_in(const std::string& path) {
  std::vector<nlohmann::json> records;
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    try {
      records.push_back(parse_json_object(line, path));
    } catch (const UserError&) {  // the line is no record
    }
  }
  return records;
}

}  // namespace collie
