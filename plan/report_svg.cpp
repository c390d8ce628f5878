// Draws the layout as a picture: the place of every rank, its memory, and the ranks it communicates with.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "base/bytes.hpp"
#include "base/xml.hpp"
#include "plan/report.hpp"
#include "schedule/summary.hpp"

namespace collie {
namespace {

// in pixels
constexpr double margin = 28, box_width = 150, box_height = 64, box_gap = 10, frame_pad = 6, block_pad = 16;
constexpr double ring_room = 26, column_gap = 56, row_gap = 44, row_label = 84, least_block = 190;
constexpr double line_height = 15;

// In the order of Category (kernels/memory.hpp).
constexpr std::array<std::string_view, category_count> category_colours = {"#3b6fb6", "#d9822b", "#2f9c7f",
                                                                           "#8a5fb0", "#c4504f", "#9aa0a6"};
constexpr std::string_view tensor_colour = "#d9822b", context_colour = "#8a5fb0", data_colour = "#2f9c7f",
                           pipeline_colour = "#3b6fb6", tied_colour = "#c4504f", node_colour = "#444444";
constexpr int skipped = -1;  // replaces an index: some indices are left out

// The indices of a dimension that are drawn: at most `most`, with a gap before the last one.
std::vector<int> drawn_of(int size, int most) {
  std::vector<int> indices;
  if (size <= most) {
    for (int i = 0; i < size; ++i) indices.push_back(i);
    return indices;
  }
  for (int i = 0; i + 2 < most; ++i) indices.push_back(i);
  indices.push_back(skipped);
  indices.push_back(size - 1);
  return indices;
}

struct Rectangle {
  double x = 0, y = 0, width = 0, height = 0;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
  double middle_x() const { return x + width / 2; }
  double middle_y() const { return y + height / 2; }
};

class Picture {
 public:
  explicit Picture(const PlanReport& report)
      : report_(report),
        grid_(report.grid),
        rows_(drawn_of(grid_.data, 4)),
        context_rows_(drawn_of(grid_.context, 4)),
        tensor_columns_(drawn_of(grid_.tensor, 4)) {
    for (const PlannedRank& rank : report.ranks) most_ = std::max(most_, rank.peak_total_bytes);
    const auto across = static_cast<double>(tensor_columns_.size());
    const auto down = static_cast<double>(context_rows_.size());
    inner_left_ = block_pad + (grid_.context > 1 ? ring_room : 0);
    block_width_ = std::max(least_block, inner_left_ + across * (box_width + box_gap) - box_gap + block_pad);
    frame_height_ = box_height + 2 * frame_pad;
    block_height_ = 2 * block_pad + down * (frame_height_ + box_gap) - box_gap;
    left_ = margin + (grid_.data > 1 ? row_label : 0);
    for (int position = 0; position < grid_.pipeline; ++position)
      header_lines_ = std::max(header_lines_, header_of(position).size());
    top_ = 112 + (has_tied_link() ? 40 : 0) + line_height * static_cast<double>(header_lines_);
  }

  std::string drawn() {
    draw_title();
    if (has_tied_link()) draw_tied_link();
    for (int position = 0; position < grid_.pipeline; ++position) draw_header(position);
    for (size_t row = 0; row < rows_.size(); ++row) draw_row(row);
    draw_data_links();
    draw_legend();
    const double width = std::max(760.0, left_ + pipeline_width() + margin);
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 "
               "{0:.0f} {1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\">\n<defs>\n",
               width, height_) +
           marker("pipeline", pipeline_colour) + marker("context", context_colour) +
           "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n" + svg_ + "</svg>\n";
  }

 private:
  // --- primitives

  static std::string marker(std::string_view id, std::string_view colour) {
    return fmt::format(
        "<marker id=\"{}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" "
        "orient=\"auto-start-reverse\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"{}\"/></marker>\n",
        id, colour);
  }

  void text(double x, double y, double size, std::string_view style, std::string_view words) {
    svg_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{:.1f}\" {}>{}</text>\n", x, y, size,
                        style, xml_escaped(words));
  }

  void box(const Rectangle& r, double radius, std::string_view style) {
    svg_ +=
        fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{:.0f}\" {}/>\n",
                    r.x, r.y, r.width, r.height, radius, style);
  }

  void path(const std::string& d, std::string_view colour, std::string_view more) {
    svg_ += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" {}/>\n", d, colour,
                        more);
  }

  // --- places

  double pipeline_width() const { return grid_.pipeline * (block_width_ + column_gap) - column_gap; }
  Rectangle block(int position, size_t row) const {
    const double height = row_height(row);
    double y = top_;
    for (size_t above = 0; above < row; ++above) y += row_height(above) + row_gap;
    return {left_ + position * (block_width_ + column_gap), y, block_width_, height};
  }
  double row_height(size_t row) const { return rows_[row] == skipped ? 22 : block_height_; }
  // The frame around the tensor ranks of one context rank.
  Rectangle frame(const Rectangle& block, size_t context) const {
    const double width = static_cast<double>(tensor_columns_.size()) * (box_width + box_gap) - box_gap;
    const double free = block_width_ - inner_left_ - block_pad - width;
    return {block.x + inner_left_ + free / 2 - frame_pad,
            block.y + block_pad + static_cast<double>(context) * (frame_height_ + box_gap),
            width + 2 * frame_pad, frame_height_};
  }
  Rectangle rank_box(const Rectangle& frame, size_t tensor) const {
    return {frame.x + frame_pad + static_cast<double>(tensor) * (box_width + box_gap), frame.y + frame_pad,
            box_width, box_height};
  }

  // --- text

  std::vector<std::string> header_of(int position) const {
    std::vector<std::string> stages, lines;
    for (size_t stage = 0; stage < report_.stages.size(); ++stage) {
      if (report_.stages[stage].position != position) continue;
      stages.push_back(std::to_string(stage));
      lines.push_back(fmt::format("stage {}: {}", stage, blocks_of(report_.stages[stage].range)));
    }
    if (lines.size() <= 2) return lines;
    return {fmt::format("stages {}", fmt::join(stages, ", "))};
  }

  // Returns the most bytes that any rank sends in such a group, or to all such neighbours together.
  size_t most_sent(std::string_view group) const {
    int64_t most = 0;
    for (const PlannedRank& rank : report_.ranks) {
      int64_t sent = 0;
      for (const PlannedTraffic& traffic : rank.traffic)
        if (traffic.group == group) sent += traffic.total();
      most = std::max(most, sent);
    }
    return static_cast<size_t>(most);
  }

  int first_position() const { return report_.stages.front().position; }
  int last_position() const { return report_.stages.back().position; }
  bool has_tied_link() const { return report_.tied && first_position() != last_position(); }

  // --- parts

  void draw_title() {
    text(margin, 36, 18, "font-weight=\"bold\" fill=\"#222222\"",
         fmt::format("{}: {} parameters on {} {}", report_.name, grouped(report_.parameters), grid_.ranks(),
                     grid_.ranks() == 1 ? "rank" : "ranks"));
    text(margin, 56, 12, "fill=\"#555555\"",
         fmt::format("pipeline {} × data {} × context {} × tensor {}, ZeRO stage {}{}", grid_.pipeline,
                     grid_.data, grid_.context, grid_.tensor, report_.zero_stage,
                     report_.sequence_parallel ? ", sequence parallelism" : ""));
    text(margin, 73, 12, "fill=\"#555555\"",
         fmt::format("{}, bubble {:.1f} %; a step of {} sequences", schedule::title_of(report_.schedule),
                     100 * report_.timeline.bubble_share(), grouped(report_.sequences)));
  }

  void draw_header(int position) {
    const Rectangle at = block(position, 0);
    const std::vector<std::string> lines = header_of(position);
    double y = top_ - 12 - line_height * static_cast<double>(lines.size());
    if (grid_.pipeline > 1)
      text(at.middle_x(), y, 13, "text-anchor=\"middle\" font-weight=\"bold\" fill=\"#222222\"",
           fmt::format("pipeline {}", position));
    for (const std::string& line : lines)
      text(at.middle_x(), y += line_height, 11.5, "text-anchor=\"middle\" fill=\"#333333\"", line);
  }

  void draw_tied_link() {
    const double from = block(first_position(), 0).middle_x(), to = block(last_position(), 0).middle_x();
    const double foot = top_ - 28 - line_height * static_cast<double>(header_lines_), top = foot - 14;
    path(fmt::format("M{0:.1f},{2:.1f} V{3:.1f} H{1:.1f} V{2:.1f}", from, to, foot, top), tied_colour,
         "stroke-dasharray=\"2 3\"");
    const std::string words = "tied embedding: gradient and weight, " + human_bytes(most_sent("tied"));
    text((from + to) / 2, top - 6, 11, fmt::format("text-anchor=\"middle\" fill=\"{}\"", tied_colour), words);
  }

  void draw_row(size_t row) {
    const Rectangle first = block(0, row);
    if (rows_[row] == skipped) {
      text(left_ + pipeline_width() / 2, first.middle_y() + 4, 12, "text-anchor=\"middle\" fill=\"#777777\"",
           fmt::format("... {} more replicas like these ...",
                       grid_.data - static_cast<int>(rows_.size()) + 1));
      return;
    }
    if (grid_.data > 1)
      text(left_ - 18, first.middle_y() + 4, 13, "text-anchor=\"end\" font-weight=\"bold\" fill=\"#222222\"",
           fmt::format("replica {}", rows_[row]));
    for (int position = 0; position < grid_.pipeline; ++position) draw_block(position, row);
    draw_pipeline_links(row);
  }

  void draw_block(int position, size_t row) {
    const Rectangle at = block(position, row);
    box(at, 8, "fill=\"#f6f7f9\" stroke=\"#d5d9de\"");
    for (size_t i = 0; i < context_rows_.size(); ++i) {
      const Rectangle around = frame(at, i);
      if (context_rows_[i] == skipped) {
        text(around.middle_x(), around.middle_y() + 4, 12, "text-anchor=\"middle\" fill=\"#777777\"",
             fmt::format("... {} more ...", grid_.context - 3));
        continue;
      }
      if (grid_.tensor > 1)
        box(around, 6, fmt::format("fill=\"{0}\" fill-opacity=\"0.14\" stroke=\"{0}\"", tensor_colour));
      for (size_t j = 0; j < tensor_columns_.size(); ++j) {
        const Rectangle cell = rank_box(around, j);
        if (tensor_columns_[j] == skipped)
          text(cell.middle_x(), cell.middle_y() + 4, 12, "text-anchor=\"middle\" fill=\"#777777\"",
               fmt::format("... {} more ...", grid_.tensor - 3));
        else
          draw_rank(cell, report_.ranks[static_cast<size_t>(
                              grid_.rank_of({position, rows_[row], context_rows_[i], tensor_columns_[j]}))]);
      }
    }
    if (grid_.context > 1) draw_ring(at);
    draw_nodes(position, row);
  }

  void draw_rank(const Rectangle& at, const PlannedRank& rank) {
    svg_ += fmt::format("<g><title>rank {}", rank.rank);
    for (size_t category = 0; category < category_count; ++category)
      svg_ += fmt::format("\n{} {}", name(static_cast<Category>(category)),
                          human_bytes(rank.peak_bytes[category]));
    svg_ += "</title>\n";
    box(at, 4, "fill=\"#ffffff\" stroke=\"#8b939c\"");
    text(at.x + 9, at.y + 19, 13, "font-weight=\"bold\" fill=\"#222222\"", fmt::format("rank {}", rank.rank));
    text(at.right() - 9, at.y + 19, 12, "text-anchor=\"end\" fill=\"#222222\"",
         human_bytes(rank.peak_total_bytes));
    draw_bar({at.x + 9, at.y + 28, at.width - 18, 10}, rank);
    std::string place;
    for (const auto& [what, size, index] : {std::tuple("context", grid_.context, rank.place.context),
                                            std::tuple("tensor", grid_.tensor, rank.place.tensor)})
      if (size > 1) place += fmt::format("{}{} {}", place.empty() ? "" : ", ", what, index);
    if (place.empty()) place = fmt::format("{} parameters", grouped(rank.parameters));
    text(at.x + 9, at.y + 54, 10.5, "fill=\"#666666\"", place);
    svg_ += "</g>\n";
  }

  // The bar's length is the rank's peak relative to the largest peak. It is divided in the proportion of the
  // categories' own peaks.
  void draw_bar(const Rectangle& at, const PlannedRank& rank) {
    box(at, 2, "fill=\"#eceef1\"");
    size_t sum = 0;
    for (const size_t bytes : rank.peak_bytes) sum += bytes;
    if (sum == 0 || most_ == 0) return;
    const double length = at.width * static_cast<double>(rank.peak_total_bytes) / static_cast<double>(most_);
    double x = at.x;
    for (size_t category = 0; category < category_count; ++category) {
      const double width = length * static_cast<double>(rank.peak_bytes[category]) / static_cast<double>(sum);
      box({x, at.y, width, at.height}, 0, fmt::format("fill=\"{}\"", category_colours[category]));
      x += width;
    }
  }

  // The ring goes down the left side of the context ranks and back up.
  void draw_ring(const Rectangle& at) {
    const double x = at.x + inner_left_ - frame_pad - 4, outer = at.x + 13;
    const double first = frame(at, 0).middle_y(), last = frame(at, context_rows_.size() - 1).middle_y();
    for (size_t i = 0; i + 1 < context_rows_.size(); ++i)
      path(fmt::format("M{0:.1f},{1:.1f} V{2:.1f}", x, frame(at, i).middle_y() + 6,
                       frame(at, i + 1).middle_y() - 6),
           context_colour, "marker-end=\"url(#context)\"");
    path(fmt::format("M{0:.1f},{2:.1f} H{1:.1f} V{3:.1f} H{0:.1f}", x, outer, last + 6, first - 6),
         context_colour, "marker-end=\"url(#context)\"");
  }

  void draw_pipeline_links(size_t row) {
    std::set<std::pair<int, int>> links;
    for (size_t stage = 0; stage + 1 < report_.stages.size(); ++stage) {
      const int a = report_.stages[stage].position, b = report_.stages[stage + 1].position;
      if (a != b) links.insert({std::min(a, b), std::max(a, b)});
    }
    constexpr std::string_view arrows = "marker-start=\"url(#pipeline)\" marker-end=\"url(#pipeline)\"";
    for (const auto& [a, b] : links) {
      const Rectangle from = block(a, row), to = block(b, row);
      if (b == a + 1) {
        path(fmt::format("M{:.1f},{:.1f} H{:.1f}", from.right() + 4, from.middle_y(), to.x - 4),
             pipeline_colour, arrows);
      } else {  // below the blocks between them
        const double y = from.bottom() + row_gap / 2 - 4;
        path(fmt::format("M{:.1f},{:.1f} V{:.1f} H{:.1f} V{:.1f}", from.x + 30, from.bottom() + 4, y,
                         to.right() - 30, to.bottom() + 4),
             pipeline_colour, arrows);
      }
    }
  }

  void draw_data_links() {
    if (grid_.data == 1) return;
    for (int position = 0; position < grid_.pipeline; ++position)
      for (size_t row = 0; row + 1 < rows_.size(); ++row) {
        const Rectangle above = block(position, row), below = block(position, row + 1);
        path(fmt::format("M{:.1f},{:.1f} V{:.1f}", above.middle_x(), above.bottom() + 3, below.y - 3),
             data_colour, "stroke-dasharray=\"6 4\"");
      }
  }

  void draw_nodes(int position, size_t row) {
    if (report_.node_of_rank.empty()) return;
    const Rectangle at = block(position, row);
    std::map<int, Rectangle> frames;
    for (size_t i = 0; i < context_rows_.size(); ++i)
      for (size_t j = 0; j < tensor_columns_.size(); ++j) {
        if (context_rows_[i] == skipped || tensor_columns_[j] == skipped) continue;
        const auto rank =
            static_cast<size_t>(grid_.rank_of({position, rows_[row], context_rows_[i], tensor_columns_[j]}));
        const Rectangle cell = rank_box(frame(at, i), j);
        const auto [found, fresh] = frames.try_emplace(report_.node_of_rank[rank], cell);
        Rectangle& all = found->second;
        if (fresh) continue;
        const double right = std::max(all.right(), cell.right()),
                     bottom = std::max(all.bottom(), cell.bottom());
        all.x = std::min(all.x, cell.x);
        all.y = std::min(all.y, cell.y);
        all.width = right - all.x;
        all.height = bottom - all.y;
      }
    for (const auto& [node, all] : frames) {
      box({all.x - 4, all.y - 4, all.width + 8, all.height + 8}, 6,
          fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"", node_colour));
      text(all.right() - 4, all.bottom() - 7, 10.5,
           fmt::format("text-anchor=\"end\" font-weight=\"bold\" fill=\"{}\"", node_colour),
           fmt::format("node {}", node));
    }
  }

  void draw_legend() {
    double y = block(0, rows_.size() - 1).bottom() + row_gap + 8, x = margin;
    for (size_t category = 0; category < category_count; ++category) {
      const std::string_view words = name(static_cast<Category>(category));
      box({x, y - 10, 11, 11}, 2, fmt::format("fill=\"{}\"", category_colours[category]));
      text(x + 16, y, 12, "fill=\"#333333\"", words);
      x += 36 + 7.0 * static_cast<double>(words.size());
    }
    y += 20;
    text(margin, y, 12, "fill=\"#777777\"",
         fmt::format("Peak memory of each rank; a full bar is {}.", human_bytes(most_)));
    const auto line = [&](std::string_view colour, std::string_view dashes, const std::string& words) {
      y += 22;
      path(fmt::format("M{:.1f},{:.1f} h24", margin, y - 4), colour, dashes);
      text(margin + 32, y, 12, "fill=\"#333333\"", words);
    };
    const auto sent = [&](std::string_view group) { return human_bytes(most_sent(group)) + " in a step"; };
    if (grid_.pipeline > 1)
      line(pipeline_colour, "",
           "pipeline: activations and gradients between stages; a rank sends up to " + sent("pipeline"));
    if (grid_.tensor > 1) {
      y += 22;
      box({margin, y - 11, 24, 13}, 3,
          fmt::format("fill=\"{0}\" fill-opacity=\"0.14\" stroke=\"{0}\"", tensor_colour));
      text(margin + 32, y, 12, "fill=\"#333333\"",
           "tensor group: a share of every matrix each; a rank sends up to " + sent("tensor"));
    }
    if (grid_.context > 1)
      line(context_colour, "",
           "context ring: keys and values of the others' tokens; a rank sends up to " + sent("context"));
    if (grid_.data_ranks() > 1)
      line(data_colour, "stroke-dasharray=\"6 4\"",
           std::string("data group: the same weights") +
               (grid_.context > 1 ? ", context ranks included" : "") + "; a rank sends up to " +
               sent("data"));
    height_ = y + margin;
  }

  const PlanReport& report_;
  const Grid grid_;
  std::vector<int> rows_, context_rows_, tensor_columns_;  // indices, or `skipped`
  size_t most_ = 0, header_lines_ = 0;
  double inner_left_ = 0, block_width_ = 0, block_height_ = 0, frame_height_ = 0, left_ = 0, top_ = 0;
  double height_ = 0;
  std::string svg_;
};

}  // namespace

std::string to_svg(const PlanReport& report) {
  return Picture(report).drawn();
}

}  // namespace collie
