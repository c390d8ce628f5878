// What a template may use. A template comes from outside, so each limit ends it with a UserError.
#pragma once

#include <cstddef>
#include <cstdint>

namespace collie::jinja {

constexpr size_t largest_template = 4u << 20;  // bytes of source; published ones have less than 50 KB
constexpr int deepest_nesting = 100;          // parentheses, blocks and calls in the source, each in the next
constexpr int deepest_tree = 600;             // operators in one expression, each an operand of the next
constexpr int deepest_evaluation = 1500;      // nodes that are evaluated one inside the other
constexpr int deepest_macro_call = 100;       // macros and callers that call each other
constexpr int deepest_value = 200;            // lists and dicts in lists and dicts
constexpr int64_t most_steps = 20'000'000;    // nodes evaluated, plus 1 for 32 bytes or 1 item made or read
constexpr size_t steps_of_scope = 8;          // of them, for each pass of a loop and each call of a macro
constexpr size_t longest_output = 64u << 20;  // bytes of the rendered text
constexpr size_t longest_text = 16u << 20;    // bytes of a string
constexpr int64_t longest_range = 100'000;    // items of range(), as Jinja2's sandbox
constexpr int64_t widest_field = 100'000;     // columns of a padded string, digits of a number

}  // namespace collie::jinja
