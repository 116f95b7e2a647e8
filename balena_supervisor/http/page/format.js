// Numbers and times in words.

const formatCount = (count) => count.toLocaleString("en");

/** For places that are too small for a whole number: 940, 1.2k, 35k. */
function formatBriefly(count) {
  if (count < 1000) return String(count);
  if (count < 1e6) return `${count < 1e4 ? (count / 1e3).toFixed(1) : Math.round(count / 1e3)}k`;
  return `${(count / 1e6).toFixed(1)}M`;
}

function formatBytes(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function formatDuration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Time of day of an ISO text, by the device's clock. */
const formatTime = (iso) => `${iso}`.slice(11, 19);

const formatMyTime = (date) => date.toLocaleTimeString("en-GB");

const plural = (count, one, many = `${one}s`) => `${formatCount(count)} ${count === 1 ? one : many}`;
