'use strict';
// Uses a package in node_modules; the test puts it there.
const lists = require('lists');

exports.handler = (event, context, callback) => callback(null, {
  unique_array: lists.uniq(event.array),
  sorted_users: lists.sortBy(event.users, 'age'),
  filtered_users: lists.filter(event.users, (user) => !user.active),
});
