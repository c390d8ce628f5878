// Templates in the Jinja language, as transformers sets Jinja2 up for chat templates: its immutable sandbox,
// trim_blocks, lstrip_blocks, break and continue, {% generation %}, its own "tojson", raise_exception and
// strftime_now. Source: the documentation and behaviour of Jinja2 3.1 and transformers 5.24.
//
// What differs: integers have 64 bits. The filter urlencode takes strings only. Printing a function or
// generator, and comparing strings by identity, is refused. The tags block, extends, include, import, from
// and autoescape, the filters groupby, urlize, xmlattr, pprint, random, striptags, wordwrap and
// filesizeformat, and calls of cycler, joiner and lipsum (which are defined) are refused when a template is
// read. io/jinja/limits.hpp states what a template may use.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "io/jinja/value.hpp"

namespace collie::jinja {

struct Statement;

// What a {% generation %} block wrote.
struct Generation {
  size_t begin = 0, end = 0;  // bytes of the text
  // The items of the loops around it (Value::address()), the outermost first.
  std::vector<const void*> loop_items;
};

struct Rendering {
  std::string text;
  std::vector<Generation> generations;
  // Why the places of some generation blocks are not known; else empty.
  std::string generation_problem;
};

class Template {
 public:
  // Reads a template. `file` is named in messages. Throws UserError "FILE:LINE: ...".
  Template(const std::string& source, std::string file);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // The text for these variables (each key is a string). `now` is the local time that strftime_now() writes.
  // `where` names the sample in messages. Throws UserError "WHERE: FILE:LINE: ...", with the message of
  // raise_exception() as it is. Renders nothing by halves. May be called by several threads at once.
  Rendering render(const Dict& variables, const std::tm& now, const std::string& where) const;

  const std::string& file() const { return file_; }
  // Whether a {% generation %} block is anywhere in it.
  bool has_generation() const;

 private:
  std::string file_;
  std::vector<std::unique_ptr<Statement>> body_;
};

}  // namespace collie::jinja
