#include "plan/data_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "plan/data_order.hpp"

namespace collie {

namespace {

constexpr int64_t most_shown_tokens = 4000;

// What the tokens from `begin` on add to the text of those before. Decoding them alone would lose a leading
// space.
std::string added_text(const Tokenizer& tokenizer, std::span<const int32_t> tokens, size_t begin,
                       size_t end) {
  const std::string before = tokenizer.decode(tokens.first(begin)), all = tokenizer.decode(tokens.first(end));
  return all.compare(0, before.size(), before) == 0 ? all.substr(before.size())
                                                    : tokenizer.decode(tokens.subspan(begin, end - begin));
}

ShownDocument shown(const Dataset& data, const Tokenizer& tokenizer, int64_t index) {
  const DocumentView document = data.document(index);
  const size_t count = std::min<size_t>(document.tokens.size(), most_shown_tokens);
  ShownDocument result{index + 1,
                       static_cast<int64_t>(document.tokens.size()),
                       document.target_count(0, document.pairs()),
                       {}};
  const auto add = [&](size_t begin, size_t end, bool target) {
    if (begin < end) result.runs.push_back({added_text(tokenizer, document.tokens, begin, end), target});
  };
  size_t done = 0;
  for (const TokenSpan& span : document.targets) {
    const size_t begin = std::min(count, static_cast<size_t>(span.begin)),
                 end = std::min(count, static_cast<size_t>(span.end));
    add(done, begin, false);
    add(begin, end, true);
    done = end;
  }
  add(done, count, false);
  return result;
}

void count_document(const DocumentView& document, DataReport& report, DataReport::Source& source) {
  const auto tokens = static_cast<int64_t>(document.tokens.size());
  const auto place =
      static_cast<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(tokens, 1)))) - 1;
  if (report.lengths.size() <= place) report.lengths.resize(place + 1);
  ++report.lengths[place];
  report.shortest = report.documents == 0 ? tokens : std::min(report.shortest, tokens);
  report.longest = std::max(report.longest, tokens);
  ++report.documents;
  ++source.documents;
  source.tokens += tokens;
  source.targets += document.target_count(0, document.pairs());
}

// Counts the documents that are read, and returns their numbers.
std::vector<int64_t> count_documents(const SequenceOrder& order, DataReport& report) {
  const Dataset& data = order.dataset();
  std::vector<int64_t> read;
  int64_t first = 0;
  for (size_t i = 0; i < data.sources().size(); ++i) {
    const DatasetSource& source = data.sources()[i];
    const int64_t weight = order.mixture().phases().back().weights[i];
    DataReport::Source& counted = report.sources.emplace_back();
    counted.path = source.path;
    counted.weight = static_cast<double>(weight) / static_cast<double>(whole_weight);
    const int64_t last = first + source.documents;
    for (int64_t number = std::exchange(first, last); number < last && weight > 0; ++number) {
      const DocumentView document = data.document(number);
      if (order.drops(document.pairs())) continue;
      count_document(document, report, counted);
      read.push_back(number);
    }
    report.tokens += counted.tokens;
    report.targets += counted.targets;
  }
  return read;
}

std::string histogram(const DataReport& report) {
  constexpr int64_t widest = 40;
  const int64_t most = *std::max_element(report.lengths.begin(), report.lengths.end());
  std::string text;
  for (size_t place = 0; place < report.lengths.size(); ++place) {
    const int64_t count = report.lengths[place];
    if (text.empty() && count == 0) continue;
    const int64_t first = int64_t{1} << place, wide = (count * widest + most - 1) / most;
    text += fmt::format("  {:>8} to {:>8} tokens  {:>9}  {}\n", first, 2 * first - 1, count,
                        std::string(static_cast<size_t>(wide), '#'));
  }
  return text;
}

std::string text_of(const ShownDocument& document, bool colours) {
  std::string text = fmt::format("\ndocument {}: {} tokens, {} targets\n", document.number, document.tokens,
                                 document.targets);
  for (const auto& [run, target] : document.runs)
    text += colours ? (target ? run : "\x1b[90m" + run + "\x1b[0m") : (target ? "⟦" + run + "⟧" : run);
  return text + (document.tokens > most_shown_tokens ? " ...\n" : "\n");
}

}  // namespace

DataReport make_data_report(const SequenceOrder& order, const Tokenizer& tokenizer, int64_t samples) {
  const Dataset& data = order.dataset();
  const SequenceSettings& settings = order.settings();
  DataReport report;
  report.name = data.name();
  report.packing = name_of(settings.packing);
  report.sequences = order.sequences_per_epoch();
  report.cut = order.cut_documents();
  const bool drops = settings.packing != Packing::stream && settings.too_long == TooLong::drop;
  report.dropped = drops ? order.long_documents() : 0;
  const std::vector<int64_t> read = count_documents(order, report);
  const int64_t count = std::min(samples, report.documents);
  for (int64_t i = 0; i < count; ++i)
    report.samples.push_back(shown(data, tokenizer, read[static_cast<size_t>(i * report.documents / count)]));
  return report;
}

std::string to_text(const DataReport& report, bool colours) {
  std::string text = fmt::format(
      "{}: {} documents, {} tokens, {} targets; {} sequences an epoch (data.packing: {})\n"
      "  {} documents do not stay whole, {} are dropped; from {} to {} tokens a document\n",
      report.name, report.documents, report.tokens, report.targets, report.sequences, report.packing,
      report.cut, report.dropped, report.shortest, report.longest);
  if (report.sources.size() > 1)
    for (const DataReport::Source& source : report.sources)
      text += fmt::format("  {}: weight {}, {} documents, {} tokens, {} targets\n", source.path,
                          source.weight, source.documents, source.tokens, source.targets);
  text += histogram(report);
  for (const ShownDocument& document : report.samples) text += text_of(document, colours);
  return text;
}

nlohmann::ordered_json to_json(const DataReport& report) {
  nlohmann::ordered_json lengths = nlohmann::ordered_json::array(), samples = lengths, sources = lengths;
  for (const DataReport::Source& source : report.sources)
    sources.push_back({{"path", source.path},
                       {"weight", source.weight},
                       {"documents", source.documents},
                       {"tokens", source.tokens},
                       {"targets", source.targets}});
  for (size_t place = 0; place < report.lengths.size(); ++place)
    if (report.lengths[place] > 0)
      lengths.push_back({{"from", int64_t{1} << place}, {"documents", report.lengths[place]}});
  for (const ShownDocument& document : report.samples) {
    nlohmann::ordered_json runs = nlohmann::ordered_json::array();
    for (const auto& [text, target] : document.runs) runs.push_back({{"text", text}, {"target", target}});
    samples.push_back({{"document", document.number},
                       {"tokens", document.tokens},
                       {"targets", document.targets},
                       {"runs", runs}});
  }
  return {{"name", report.name},       {"packing", report.packing}, {"documents", report.documents},
          {"tokens", report.tokens},   {"targets", report.targets}, {"sequences", report.sequences},
          {"cut", report.cut},         {"dropped", report.dropped}, {"shortest", report.shortest},
          {"longest", report.longest}, {"sources", sources},        {"lengths", lengths},
          {"samples", samples}};
}

}  // namespace collie
