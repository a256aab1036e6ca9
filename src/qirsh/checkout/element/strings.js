// Every sentence that payers read, in each language. `{name}` is filled in. A missing word is a failing test.

/** @type {Record<string, Record<string, string>>} */
export const STRINGS = {
  en: {
    payment: "Payment",
    choose: "How would you like to pay?",
    phone: "Wallet phone number",
    phone_hint: "An Egyptian mobile number, such as 01012345678",
    phone_wrong: "Check the number: it has 11 digits.",
    pay: "Pay {amount}",
    pay_note: "You confirm it in the next step.",
    wait: "Preparing your payment",
    slow: "The payment provider is slow. You can wait, or choose another method.",
    checking: "Checking your payment",
    by_itself: "This page changes by itself once the payment is confirmed.",
    go: "Go to the payment page",
    go_text: "You pay there, and then come back here.",
    framed: "Enter your payment details",
    framed_out: "Form not showing? Open it on its own page.",
    qr: "Scan to pay",
    qr_text: "Open your wallet’s app, scan this code and confirm {amount}.",
    reference: "Your payment code",
    reference_copy: "Copy the code",
    reference_copied: "Copied",
    reference_selected: "Selected – copy it",
    reference_1: "Go to a point of sale: {biller}.",
    reference_2: "Give this code and pay {amount} in cash.",
    reference_print: "Print",
    prompt: "Confirm on your phone",
    prompt_text: "We sent a request to the wallet on {phone}. Open it and confirm {amount}.",
    otp: "Enter the code we sent you",
    otp_hint: "The code has {digits} digits.",
    otp_button: "Confirm",
    otp_wrong: "That code is wrong. Tries left: {left}.",
    otp_over: "No code can be taken any more. Please start again.",
    left: "Time left",
    until: "Pay before {time}",
    done: "Payment successful",
    done_text: "Thank you. Your payment of {amount} was received.",
    done_again: "Make another payment",
    failed: "Payment not completed",
    expired: "Time is up",
    refunded: "Refunded",
    refunded_text: "{refunded} was given back.",
    not_taken: "No money was taken.",
    another: "Choose another method",
    again: "Try again",
    reload: "Reload",
    offline: "You are offline. We go on as soon as you are back.",
    lost: "No answer from the payment server. We keep trying.",
    gone: "This payment was not found. The link may be wrong.",
    nothing: "Not available",
    nothing_text: "This cannot be paid for at the moment.",
    unknown_action: "This way to pay cannot be shown",
    price_mismatch: "The price has changed. Reload the page to see it.",
    too_many_requests: "Too many tries. Please wait a minute.",
    gateway_unavailable: "The payment provider cannot be reached. Try again, or choose another method.",
    invalid_request: "The shop’s page has a mistake. Please tell the shop.",
    problem: "Something went wrong. Try again, or choose another method.",
    reason_insufficient_funds: "There is not enough money in the account.",
    reason_card_declined: "Your bank or wallet declined the payment.",
    reason_expired_card: "The card has expired, or its date is wrong.",
    reason_authentication_failed: "The payment could not be confirmed as yours.",
    reason_wallet_not_found: "This number has no wallet.",
    reason_wrong_pin: "The PIN was wrong.",
    reason_limit_exceeded: "The amount is above your limit.",
    reason_expired: "The time to pay is over.",
    reason_never_registered: "The payment provider did not answer in time.",
    reason_cancelled_by_payer: "You cancelled the payment.",
    reason_fraud_suspected: "The payment was refused for safety. Please ask your bank.",
    reason_processing_error: "The payment provider had a problem.",
    reason_unknown: "The payment was not made.",
    hint_card: "Credit or debit card",
    hint_vodafone_cash: "Confirm with your wallet PIN",
    hint_mobile_wallet: "Confirm on your phone",
    hint_wallet_qr: "Scan with your wallet’s app",
    hint_fawry: "Cash, with a code",
    hint_kiosk: "Cash, with a code",
    hint_paypal: "With your PayPal account",
    hint_apple_pay: "On your Apple device",
    hint_google_pay: "With your Google account",
  },
  ar: {
    payment: "الدفع",
    choose: "كيف تود أن تدفع؟",
    phone: "رقم هاتف المحفظة",
    phone_hint: "رقم محمول مصري، مثل 01012345678",
    phone_wrong: "تحقق من الرقم: يتكون من 11 رقمًا.",
    pay: "ادفع {amount}",
    pay_note: "تؤكد الدفع في الخطوة التالية.",
    wait: "نجهز عملية الدفع",
    slow: "جهة الدفع بطيئة. يمكنك الانتظار أو اختيار طريقة أخرى.",
    checking: "نتحقق من الدفع",
    by_itself: "تتغير هذه الصفحة تلقائيًا بعد تأكيد الدفع.",
    go: "انتقل إلى صفحة الدفع",
    go_text: "تدفع هناك، ثم تعود إلى هنا.",
    framed: "أدخل بيانات الدفع",
    framed_out: "النموذج لا يظهر؟ افتحه في صفحة مستقلة.",
    qr: "امسح الرمز للدفع",
    qr_text: "افتح تطبيق محفظتك، وامسح هذا الرمز لدفع {amount} منها.",
    reference: "كود الدفع الخاص بك",
    reference_copy: "انسخ الكود",
    reference_copied: "تم النسخ",
    reference_selected: "حددنا الكود، فانسخه",
    reference_1: "توجه إلى أحد منافذ الدفع: {biller}.",
    reference_2: "اذكر هذا الكود وادفع {amount} نقدًا.",
    reference_print: "اطبع",
    prompt: "أكد الدفع من هاتفك",
    prompt_text: "أرسلنا طلبًا إلى المحفظة {phone}. أكد {amount} من هاتفك.",
    otp: "أدخل الكود الذي أرسلناه إليك",
    otp_hint: "الكود مكون من {digits} أرقام.",
    otp_button: "تأكيد",
    otp_wrong: "الكود غير صحيح. المحاولات المتبقية: {left}.",
    otp_over: "لم يعد من الممكن قبول كود. من فضلك ابدأ من جديد.",
    left: "الوقت المتبقي",
    until: "ادفع قبل {time}",
    done: "تم الدفع بنجاح",
    done_text: "شكرًا لك، استلمنا {amount} بالكامل.",
    done_again: "عملية دفع أخرى",
    failed: "لم يكتمل الدفع",
    expired: "انتهى الوقت",
    refunded: "تم رد المبلغ",
    refunded_text: "تم رد {refunded} إليك.",
    not_taken: "لم يخصم أي مبلغ.",
    another: "اختر طريقة أخرى",
    again: "حاول مرة أخرى",
    reload: "أعد تحميل الصفحة",
    offline: "أنت غير متصل بالإنترنت. نتابع فور عودة الاتصال.",
    lost: "خادم الدفع لا يرد. نواصل المحاولة.",
    gone: "لم نجد عملية الدفع هذه. قد يكون الرابط خاطئًا.",
    nothing: "غير متاح",
    nothing_text: "لا يمكن الدفع لهذا المنتج حاليًا.",
    unknown_action: "لا يمكن عرض طريقة الدفع هذه",
    price_mismatch: "تغير السعر. أعد تحميل الصفحة لتراه.",
    too_many_requests: "محاولات كثيرة. من فضلك انتظر دقيقة.",
    gateway_unavailable: "تعذر الوصول إلى جهة الدفع. حاول مرة أخرى أو اختر طريقة أخرى.",
    invalid_request: "صفحة المتجر بها خطأ. من فضلك أبلغ المتجر.",
    problem: "حدث خطأ. حاول مرة أخرى أو اختر طريقة أخرى.",
    reason_insufficient_funds: "الرصيد غير كاف.",
    reason_card_declined: "رفض البنك أو المحفظة العملية.",
    reason_expired_card: "انتهت صلاحية البطاقة أو تاريخها خاطئ.",
    reason_authentication_failed: "تعذر التأكد من أن العملية تخصك.",
    reason_wallet_not_found: "لا توجد محفظة على هذا الرقم.",
    reason_wrong_pin: "الرقم السري غير صحيح.",
    reason_limit_exceeded: "المبلغ أعلى من حدك المسموح.",
    reason_expired: "انتهت المهلة المتاحة للدفع.",
    reason_never_registered: "لم ترد جهة الدفع في الوقت المتاح.",
    reason_cancelled_by_payer: "لقد ألغيت عملية الدفع.",
    reason_fraud_suspected: "رفضت العملية للأمان. من فضلك اسأل البنك.",
    reason_processing_error: "واجهت جهة الدفع مشكلة.",
    reason_unknown: "لم تتم عملية الدفع.",
    hint_card: "بطاقة ائتمان أو خصم",
    hint_vodafone_cash: "أكد بالرقم السري لمحفظتك",
    hint_mobile_wallet: "أكد من هاتفك",
    hint_wallet_qr: "امسح بتطبيق محفظتك",
    hint_fawry: "نقدًا، بكود دفع",
    hint_kiosk: "نقدًا، بكود دفع",
    hint_paypal: "بحسابك على PayPal",
    hint_apple_pay: "على جهازك من Apple",
    hint_google_pay: "بحسابك على Google",
  },
};

/**
 * What payers write themselves is read in Latin digits: an Arabic keyboard types others.
 *
 * @param {string} text
 */
export function latin(text) {
  return text.replace(/[٠-٩۰-۹]/g, (digit) => `${digit.charCodeAt(0) & 15}`);
}

/**
 * A locale as browsers take it: `ar_EG` is how servers write it. Of what is none, two letters are left.
 *
 * @param {string} written
 * @returns {string}
 */
export function canonical(written) {
  try {
    return /** @type {any} */ (Intl).getCanonicalLocales(written.replaceAll("_", "-"))[0];
  } catch {
    return written.slice(0, 2).toLowerCase();
  }
}

/** One language's words, numbers and times. */
export class Language {
  /** @param {string} written such as `ar`, `ar-EG`, `en_US`; one that is not spoken here is answered in English */
  constructor(written) {
    const locale = canonical(written);
    const language = locale.slice(0, 2);
    this.code = language in STRINGS ? language : "en";
    this.direction = this.code === "ar" ? "rtl" : "ltr";
    // The digits of plain `ar` differ between browsers; prices are in Egyptian ones.
    this.locale = this.code !== language ? "en" : locale === "ar" ? "ar-EG" : locale;
  }

  /**
   * A sentence; none where there is none of that name. What is filled in is isolated, so that no digits or Latin words are mixed up in Arabic ones.
   *
   * @param {string} name
   * @param {Record<string, string | number>} [values]
   * @returns {string}
   */
  say(name, values = {}) {
    return (STRINGS[this.code][name] ?? "").replace(/\{(\w+)\}/g, (_, value) => `\u2068${values[value]}\u2069`);
  }

  /** @param {Record<string, string> | undefined} texts by language, as the server has them */
  pick(texts) {
    return texts?.[this.code] ?? texts?.en ?? Object.values(texts ?? {})[0] ?? "";
  }

  /**
   * An amount of major units, written exactly: it stays text, so no digit is rounded.
   *
   * @param {string} amount
   * @param {string} currency
   */
  money(amount, currency) {
    const decimals = (amount.split(".")[1] ?? "").length;
    const exact = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    try {
      const parts = new Intl.NumberFormat(this.locale, { style: "currency", currency, ...exact }).formatToParts(/** @type {any} */ (amount));
      // A sign of its own direction, US$, would be torn apart between Arabic digits.
      return parts.map(({ type, value }) => (type === "currency" ? `\u2068${value}\u2069` : value)).join("");
    } catch {
      return `${amount} ${currency}`;
    }
  }

  /**
   * @param {number} number
   * @param {number} [digits] at least so many
   */
  number(number, digits = 1) {
    return new Intl.NumberFormat(this.locale, { minimumIntegerDigits: digits, useGrouping: false }).format(number);
  }

  /**
   * How long something takes: a clock, or days and hours.
   *
   * @param {number} seconds
   */
  span(seconds) {
    const hours = Math.floor(seconds / 3600);
    if (hours < 24) {
      const parts = [hours, Math.floor(seconds / 60) % 60, seconds % 60];
      return parts.slice(hours ? 0 : 1).map((part) => this.number(part, 2)).join(":");
    }
    const unit = (/** @type {string} */ unit, /** @type {number} */ number) =>
      new Intl.NumberFormat(this.locale, { style: "unit", unit, unitDisplay: "long" }).format(number);
    const days = unit("day", Math.floor(hours / 24));
    return hours % 24 ? `${days} ${unit("hour", hours % 24)}` : days;
  }

  /** @param {number} time in milliseconds since 1970 */
  time(time) {
    return new Intl.DateTimeFormat(this.locale, { dateStyle: "medium", timeStyle: "short" }).format(time);
  }
}
