// Reads the text format of Prometheus, written from its description and not from our writer. It is strict:
// what Prometheus would take with a shrug is an error here.
#pragma once

#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace collie::test {

struct PrometheusFamily {
  std::string help, type;
  std::map<std::map<std::string, std::string>, double> samples;  // by labels
};
using PrometheusFamilies = std::map<std::string, PrometheusFamily>;

class PrometheusReader {
 public:
  // Throws std::runtime_error, which says what is wrong.
  static PrometheusFamilies read(const std::string& text) {
    PrometheusReader reader;
    size_t from = 0;
    while (from < text.size()) {
      const size_t end = text.find('\n', from);
      if (end == std::string::npos) throw std::runtime_error("the last line has no end");
      reader.line(text.substr(from, end - from));
      from = end + 1;
    }
    return reader.families_;
  }

 private:
  static bool is_name(const std::string& name, bool colons) {
    if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
    for (const char c : name)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
            (colons && c == ':')))
        return false;
    return true;
  }

  void line(const std::string& line) {
    if (line.starts_with("# HELP ")) return comment(line.substr(7), true);
    if (line.starts_with("# TYPE ")) return comment(line.substr(7), false);
    if (line.empty() || line[0] == '#') throw std::runtime_error("a line that says nothing: " + line);
    sample(line);
  }

  // HELP comes first, TYPE next, and then all samples of the name.
  void comment(const std::string& rest, bool is_help) {
    const size_t space = rest.find(' ');
    const std::string name = rest.substr(0, space);
    if (space == std::string::npos || !is_name(name, true)) throw std::runtime_error("wrong: " + rest);
    if (is_help) {
      if (!families_.try_emplace(name).second) throw std::runtime_error(name + " is there twice");
      families_[name].help = rest.substr(space + 1);
      current_ = name;
      return;
    }
    PrometheusFamily& family = families_.at(name);
    family.type = rest.substr(space + 1);
    if (name != current_ || !family.samples.empty()) throw std::runtime_error("TYPE of " + name + " is late");
    if (family.type != "gauge" && family.type != "counter") throw std::runtime_error("type " + family.type);
    if ((family.type == "counter") != name.ends_with("_total"))
      throw std::runtime_error(name + " is a " + family.type);
  }

  void sample(const std::string& line) {
    size_t at = line.find_first_of("{ ");
    if (at == std::string::npos) throw std::runtime_error("no value: " + line);
    const std::string name = line.substr(0, at);
    if (name != current_) throw std::runtime_error(name + " among the samples of " + current_);
    std::map<std::string, std::string> labels;
    if (line[at] == '{') labels = labels_of(line, at);
    if (line[at] != ' ') throw std::runtime_error("no space before the value: " + line);
    if (!families_[name].samples.emplace(std::move(labels), number_of(line.substr(at + 1))).second)
      throw std::runtime_error("twice: " + line);
  }

  // Begins at '{', and ends behind '}'.
  static std::map<std::string, std::string> labels_of(const std::string& line, size_t& at) {
    std::map<std::string, std::string> labels;
    do {
      const size_t equals = line.find('=', ++at);
      const std::string label = line.substr(at, equals - at);
      if (!is_name(label, false) || line.at(equals + 1) != '"') throw std::runtime_error("label: " + line);
      std::string value;
      for (at = equals + 2; line.at(at) != '"'; ++at) {
        if (line[at] != '\\') {
          value += line[at];
          continue;
        }
        const char c = line.at(++at);
        if (c != 'n' && c != '\\' && c != '"') throw std::runtime_error("escape: " + line);
        value += c == 'n' ? '\n' : c;
      }
      if (!labels.emplace(label, value).second) throw std::runtime_error("label twice: " + line);
      ++at;
    } while (line.at(at) == ',');
    if (line[at] != '}') throw std::runtime_error("no end of the labels: " + line);
    ++at;
    return labels;
  }

  static double number_of(const std::string& text) {
    if (text == "NaN") return NAN;
    if (text == "+Inf") return INFINITY;
    if (text == "-Inf") return -INFINITY;
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || end != text.c_str() + text.size() || !std::isfinite(value))
      throw std::runtime_error("number: " + text);
    return value;
  }

  PrometheusFamilies families_;
  std::string current_;
};

}  // namespace collie::test
